//! Requests to AWS's query services: a form of names and values, lists counted from 1.
//!
//! ```text
//! Action=RegisterImage&Version=2016-11-15&Name=lfs&BlockDeviceMapping.1.DeviceName=%2Fdev%2Fxvda
//! ```
//!
//! Source: "Query requests for Amazon EC2"; the names are those of the service's model.

use std::fmt::Display;

/// The version of EC2's interface.
const EC2: &str = "2016-11-15";
/// The version of STS's interface.
const STS: &str = "2011-06-15";

/// What is asked of a service, in the order in which it was said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Form {
    action: &'static str,
    fields: Vec<(String, String)>,
}

impl Form {
    /// A call of EC2.
    pub(super) fn ec2(action: &'static str) -> Self {
        Self { action, fields: vec![("Version".to_owned(), EC2.to_owned())] }
    }

    /// A call of STS.
    pub(super) fn sts(action: &'static str) -> Self {
        Self { action, fields: vec![("Version".to_owned(), STS.to_owned())] }
    }

    pub(super) fn action(&self) -> &'static str {
        self.action
    }

    /// Adds a value.
    pub(super) fn with(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.fields.push((name.into(), value.to_string()));
        self
    }

    /// Adds a value if there is one.
    pub(super) fn maybe(self, name: impl Into<String>, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a list: `Name.1`, `Name.2`.
    pub(super) fn list<T: Display>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        for (n, value) in (1..).zip(values) {
            self = self.with(format!("{name}.{n}"), value);
        }
        self
    }

    /// Adds what a list of results is to be narrowed by.
    pub(super) fn filters(mut self, filters: &[(&str, &str)]) -> Self {
        for (n, (name, value)) in (1..).zip(filters) {
            self = self.with(format!("Filter.{n}.Name"), name).with(format!("Filter.{n}.Value.1"), value);
        }
        self
    }

    /// Adds the tags of a resource that the call makes; nothing where there are none.
    pub(super) fn tags(mut self, n: usize, resource: &str, tags: &[(String, String)]) -> Self {
        if tags.is_empty() {
            return self;
        }
        self = self.with(format!("TagSpecification.{n}.ResourceType"), resource);
        for (m, (key, value)) in (1..).zip(tags) {
            self = self
                .with(format!("TagSpecification.{n}.Tag.{m}.Key"), key)
                .with(format!("TagSpecification.{n}.Tag.{m}.Value"), value);
        }
        self
    }

    /// The body of the request.
    pub(super) fn body(&self) -> String {
        let mut body = format!("Action={}", self.action);
        for (name, value) in &self.fields {
            body.push('&');
            escape(name, &mut body);
            body.push('=');
            escape(value, &mut body);
        }
        body
    }
}

/// Everything but what RFC 3986 calls unreserved goes as `%XX`.
fn escape(text: &str, into: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(DIGITS[usize::from(byte >> 4)]);
            into.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_counted_from_one_and_escaped() {
        let form = Form::ec2("DescribeImages")
            .list("Owner", ["self"])
            .filters(&[("name", "a b/ü+&="), ("state", "available")])
            .with("DryRun", true)
            .maybe("NextToken", None::<&str>)
            .maybe("MaxResults", Some(7));
        assert_eq!(
            form.body(),
            "Action=DescribeImages&Version=2016-11-15&Owner.1=self&Filter.1.Name=name&\
             Filter.1.Value.1=a%20b%2F%C3%BC%2B%26%3D&Filter.2.Name=state&Filter.2.Value.1=available&DryRun=true&MaxResults=7"
        );
        let tags = [("a".to_owned(), String::new()), ("b".to_owned(), "~c".to_owned())];
        assert_eq!(
            Form::sts("X").tags(1, "image", &[]).tags(2, "snapshot", &tags).body(),
            "Action=X&Version=2011-06-15&TagSpecification.2.ResourceType=snapshot&TagSpecification.2.Tag.1.Key=a&\
             TagSpecification.2.Tag.1.Value=&TagSpecification.2.Tag.2.Key=b&TagSpecification.2.Tag.2.Value=~c"
        );
    }
}
