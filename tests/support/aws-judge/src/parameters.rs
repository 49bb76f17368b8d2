//! STS GetCallerIdentity; SSM PutParameter and GetParameter.
//!
//! Source: service models `sts` 2011-06-15 (Query) and `ssm` 2014-11-06 (JSON 1.1).

use serde_json::{Value, json};

use crate::faults::Call;
use crate::form::Form;
use crate::reply::{Fail, Reply, Service};
use crate::report::ParameterReport;
use crate::state::State;
use crate::time;
use crate::xml::Xml;

/// GetCallerIdentity: needs no permission.
pub(crate) fn sts(state: &State, form: &Form, request_id: &str) -> Result<Reply, Fail> {
    let action = form.get("Action").unwrap_or("null");
    if action != "GetCallerIdentity" || form.get("Version") != Some("2011-06-15") {
        let message = format!("Could not find operation {action}");
        return Err(Fail::new(400, "InvalidAction", message));
    }
    let mut xml = Xml::default();
    xml.element("GetCallerIdentityResult", |xml| {
        xml.text("Arn", state.config.arn())
            .text("UserId", "AIDAJUDGEEXAMPLE00001")
            .text("Account", &state.config.account);
    })
    .element("ResponseMetadata", |xml| {
        xml.text("RequestId", request_id);
    });
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{}</GetCallerIdentityResponse>",
        xml.into_string()
    );
    Ok(Reply::new(200, "text/xml", body))
}

/// `X-Amz-Target: AmazonSSM.PutParameter`.
pub(crate) fn ssm(state: &mut State, call: &Call, body: &[u8]) -> Result<Reply, Fail> {
    let action = format!("ssm:{}", call.operation);
    if state.config.denies(&action) {
        return Err(Fail::denied(Service::Ssm, &state.config.arn(), &action, "*"));
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| Fail::new(400, "SerializationException", "The request is not valid JSON."))?;
    match call.operation.as_str() {
        "PutParameter" => put(state, &call.region, &body),
        "GetParameter" => get(state, &call.region, &body),
        _ => Err(Fail::new(400, "UnknownOperationException", "There is no such operation.")),
    }
    .map(|value| Reply::new(200, "application/x-amz-json-1.1", value.to_string()))
}

fn bad(message: &str) -> Fail {
    Fail::new(400, "ValidationException", message)
}

fn put(state: &mut State, region: &str, body: &Value) -> Result<Value, Fail> {
    const MEMBERS: [&str; 11] = [
        "Name",
        "Description",
        "Value",
        "Type",
        "KeyId",
        "Overwrite",
        "AllowedPattern",
        "Tags",
        "Tier",
        "Policies",
        "DataType",
    ];
    let members = body.as_object().into_iter().flatten();
    for (name, _) in members.filter(|(name, _)| !MEMBERS.contains(&name.as_str())) {
        state.violation("unknown-member", "PutParameter", name.clone());
    }
    let text = |name: &str| body[name].as_str();
    let name = text("Name").filter(|name| !name.is_empty()).ok_or_else(|| bad("Name must be given."))?;
    let value = text("Value").ok_or_else(|| bad("Value must be given."))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if name.len() > 1011 || !name.bytes().all(allowed) || (name.contains('/') && !name.starts_with('/')) {
        return Err(bad("Parameter name must be a fully qualified name of letters, numbers and _.-/"));
    }
    let lower = name.trim_start_matches('/').to_ascii_lowercase();
    if lower.starts_with("aws") || lower.starts_with("ssm") {
        return Err(bad("Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive)."));
    }
    if name.split('/').count() > 16 {
        let message = "A hierarchy can have at most 15 levels.";
        return Err(Fail::new(400, "HierarchyLevelLimitExceededException", message));
    }
    if value.is_empty() || value.len() > 4096 {
        return Err(bad("Value must have 1 to 4096 characters."));
    }
    let kind = text("Type");
    if kind.is_some_and(|kind| !["String", "StringList", "SecureString"].contains(&kind)) {
        return Err(Fail::new(400, "UnsupportedParameterType", "The parameter type is not supported."));
    }
    let data_type = text("DataType").unwrap_or("text");
    let is_image = data_type == "aws:ec2:image";
    if is_image && !value.starts_with("ami-") {
        return Err(bad("The value is not an AMI id."));
    }
    let overwrite = body["Overwrite"].as_bool().unwrap_or(false);
    if overwrite && !body["Tags"].is_null() {
        return Err(bad("Tags and Overwrite can't be used together."));
    }
    // That the AMI exists is checked afterwards, and a wrong one silently changes nothing.
    let image = state.images.iter().any(|image| {
        image.id == value && image.region == region && !image.deregistered && image.state() == "available"
    });
    let known = |parameter: &&mut ParameterReport| parameter.region == region && parameter.name == name;
    let found = state.parameters.iter_mut().find(known);
    if found.is_some() && !overwrite {
        let message = "The parameter already exists. To overwrite this value, set the overwrite option in the request \
                       to true.";
        return Err(Fail::new(400, "ParameterAlreadyExists", message));
    }
    let version = found.as_ref().map_or(0, |parameter| parameter.version) + 1;
    let kind = match (kind, &found) {
        (Some(kind), _) => kind.to_owned(),
        (None, Some(parameter)) => parameter.kind.clone(),
        (None, None) => return Err(bad("A parameter type is required when you create a parameter.")),
    };
    if !is_image || image {
        let new = ParameterReport {
            region: region.into(),
            name: name.into(),
            value: value.into(),
            kind,
            data_type: data_type.into(),
            version,
        };
        match found {
            Some(parameter) => *parameter = new,
            None => state.parameters.push(new),
        }
    }
    Ok(json!({"Version": version, "Tier": "Standard"}))
}

fn get(state: &State, region: &str, body: &Value) -> Result<Value, Fail> {
    let name = body["Name"].as_str().unwrap_or_default();
    let found =
        state.parameters.iter().find(|parameter| parameter.region == region && parameter.name == name);
    let parameter =
        found.ok_or_else(|| Fail::new(400, "ParameterNotFound", format!("Parameter {name} not found.")))?;
    let arn =
        format!("arn:aws:ssm:{region}:{}:parameter/{}", state.config.account, name.trim_start_matches('/'));
    Ok(json!({"Parameter": {
        "Name": name,
        "Type": parameter.kind,
        "Value": parameter.value,
        "Version": parameter.version,
        "LastModifiedDate": time::now(),
        "ARN": arn,
        "DataType": parameter.data_type,
    }}))
}
