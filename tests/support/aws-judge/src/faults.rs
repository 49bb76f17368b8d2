//! Misbehaviour by script. `README.md` lists what may be asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::reply::{Fail, Service};

/// One line of the script: when, and what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    op: Names,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nth: Option<Numbers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocks: Option<(u32, Option<u32>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tries: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    since: Since,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within_ms: Option<u64>,
    #[serde(rename = "do")]
    what: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<At>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(u64),
    Many(Vec<u64>),
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Since {
    #[default]
    Faults,
    SnapshotStart,
    SnapshotComplete,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Throttle,
    ThrottleSnapshot,
    ThrottleAccount,
    InternalError,
    Unavailable,
    NotFound,
    AccessDenied,
    AccountDenied,
    KmsDenied,
    Quota,
    PendingQuota,
    Validation,
    ExpiredToken,
    Error,
    Stall,
    Drop,
    Delay,
    SnapshotError,
    SlowCompletion,
    FailCompletion,
    Damage,
    Alter,
}

/// Where in a call a stall or a drop happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum At {
    /// After 64 KiB of the request's body.
    Request,
    /// Before the answer; a drop: without having done anything.
    Response,
    /// Before the answer, having done it.
    Applied,
    /// After half of the answer's body.
    Body,
}

/// What is known of a call before its body is read.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) operation: String,
    pub(crate) region: String,
    /// The snapshot or image it is about.
    pub(crate) subject: Option<String>,
    pub(crate) block: Option<u32>,
}

/// What is to go wrong with a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Answer later.
    pub(crate) delay: Duration,
    pub(crate) stall: Option<(At, Duration)>,
    pub(crate) drop: Option<At>,
    /// Answer this instead.
    pub(crate) fail: Option<Fail>,
    /// Answer with 503 and HTML.
    pub(crate) html: bool,
    pub(crate) snapshot_error: bool,
    pub(crate) completion: Option<Duration>,
    pub(crate) fail_completion: bool,
    pub(crate) read: Read,
}

/// What is read of a block.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Read {
    #[default]
    Whole,
    /// Not what its checksum says.
    Damaged,
    /// Something else, with that thing's checksum.
    Altered,
}

/// A fault that counts.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(crate) fault: Fault,
    since: Instant,
    calls: u64,
    pub(crate) fired: u64,
    tries: BTreeMap<(String, Option<String>, Option<u32>), u64>,
    random: u64,
}

/// Moments in the life of the snapshot that a call is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    pub(crate) started: Option<Instant>,
    pub(crate) completed: Option<Instant>,
}

impl Armed {
    pub(crate) fn new(fault: Fault) -> Self {
        let random = fault.seed;
        Self { fault, since: Instant::now(), calls: 0, fired: 0, tries: BTreeMap::new(), random }
    }

    fn fires(&mut self, call: &Call, moments: Moments) -> bool {
        let fault = &self.fault;
        let named = |name: &String| name == "*" || *name == call.operation;
        let by_name = match &fault.op {
            Names::One(name) => named(name),
            Names::Many(names) => names.iter().any(named),
        };
        let by_block = fault.blocks.is_none_or(|(low, high)| {
            call.block.is_some_and(|block| block >= low && high.is_none_or(|high| block <= high))
        });
        let by_region = fault.region.as_ref().is_none_or(|region| *region == call.region);
        if !by_name || !by_block || !by_region {
            return false;
        }
        let start = match fault.since {
            Since::Faults => Some(self.since),
            Since::SnapshotStart => moments.started,
            Since::SnapshotComplete => moments.completed,
        };
        let Some(start) = start else { return false };
        let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if fault.after_ms.is_some_and(|after| elapsed < after)
            || fault.within_ms.is_some_and(|within| elapsed >= within)
        {
            return false;
        }
        self.calls += 1;
        let number = self.calls;
        let tried = self.tries.entry((call.operation.clone(), call.subject.clone(), call.block)).or_default();
        *tried += 1;
        let by_number = match &fault.nth {
            None => true,
            Some(Numbers::One(nth)) => *nth == number,
            Some(Numbers::Many(many)) => many.contains(&number),
        };
        let first = fault.from.unwrap_or(1);
        let by_step =
            number >= first && fault.every.is_none_or(|every| (number - first).is_multiple_of(every.max(1)));
        let by_tries = fault.tries.is_none_or(|tries| *tried <= tries);
        let by_chance = fault.probability.is_none_or(|probability| {
            // 53 bits, as many as a double holds.
            #[allow(clippy::cast_precision_loss, reason = "53 bits")]
            let chance = (splitmix(&mut self.random) >> 11) as f64 / (1_u64 << 53) as f64;
            chance < probability
        });
        let fires = by_number
            && by_step
            && by_tries
            && by_chance
            && fault.times.is_none_or(|times| self.fired < times);
        self.fired += u64::from(fires);
        fires
    }
}

/// Asks the whole script about a call.
pub(crate) fn plan(script: &mut [Armed], call: &Call, moments: Moments, caller: &str) -> Plan {
    let mut plan = Plan::default();
    let mut decided = false;
    for armed in script {
        let goes_along = matches!(armed.fault.what, What::Delay | What::SlowCompletion);
        if (decided && !goes_along) || !armed.fires(call, moments) {
            continue;
        }
        decided |= !goes_along;
        let random = splitmix(&mut armed.random);
        armed.fault.apply(&mut plan, call, caller, random);
    }
    plan
}

impl Fault {
    fn apply(&self, plan: &mut Plan, call: &Call, caller: &str, random: u64) {
        let service = call.service;
        match self.what {
            What::Delay => {
                let (min, max) = (self.min_ms.unwrap_or(0), self.max_ms.unwrap_or(100));
                let ms = min + random % (max.saturating_sub(min) + 1);
                plan.delay += Duration::from_millis(ms);
            }
            What::SlowCompletion => plan.completion = Some(Duration::from_millis(self.ms.unwrap_or(10_000))),
            What::FailCompletion => plan.fail_completion = true,
            What::Damage => plan.read = Read::Damaged,
            What::Alter => plan.read = Read::Altered,
            What::SnapshotError => plan.snapshot_error = true,
            What::Stall => {
                let seconds = Duration::from_secs_f64(self.seconds.unwrap_or(30.0).max(0.0));
                plan.stall = Some((self.at.unwrap_or(At::Response), seconds));
            }
            What::Drop => plan.drop = Some(self.at.unwrap_or(At::Response)),
            What::Unavailable => plan.html = true,
            _ => plan.fail = Some(self.fail(service, call, caller)),
        }
    }

    fn fail(&self, service: Service, call: &Call, caller: &str) -> Fail {
        let ebs = service == Service::Ebs;
        let subject = call.subject.as_deref().unwrap_or("null");
        let action = format!("{}:{}", service.name(), call.operation);
        match self.what {
            What::Throttle | What::ThrottleSnapshot | What::ThrottleAccount => match service {
                Service::Ec2 => Fail::new(503, "RequestLimitExceeded", "Request limit exceeded."),
                Service::Sts => Fail::new(400, "Throttling", "Rate exceeded"),
                Service::Ebs if self.what != What::Throttle => {
                    let reason = if self.what == What::ThrottleSnapshot {
                        "RESOURCE_LEVEL_THROTTLE"
                    } else {
                        "ACCOUNT_THROTTLED"
                    };
                    let message = "The number of API requests has exceeded the maximum allowed limit.";
                    Fail::reason(400, "RequestThrottledException", reason, message)
                }
                _ => Fail::new(400, "ThrottlingException", "Rate exceeded"),
            },
            What::InternalError => match service {
                Service::Ebs => Fail::new(500, "InternalServerException", "An internal error has occurred."),
                Service::Ec2 => Fail::new(500, "InternalError", "An internal error has occurred"),
                Service::Sts => Fail::new(500, "InternalFailure", "An internal error has occurred"),
                Service::Ssm => Fail::new(500, "InternalServerError", "An internal error has occurred"),
            },
            What::NotFound if ebs => Fail::no_snapshot(subject),
            What::NotFound if call.operation.contains("Image") => {
                Fail::new(400, "InvalidAMIID.NotFound", format!("The image id '[{subject}]' does not exist"))
            }
            What::NotFound => Fail::new(
                400,
                "InvalidSnapshot.NotFound",
                format!("The snapshot '{subject}' does not exist."),
            ),
            What::AccountDenied | What::KmsDenied if ebs => {
                let (reason, message) = if self.what == What::KmsDenied {
                    ("DEPENDENCY_ACCESS_DENIED", "Access to the KMS key is denied.")
                } else {
                    ("UNAUTHORIZED_ACCOUNT", "The account is not authorized to use the EBS direct APIs.")
                };
                Fail::reason(403, "AccessDeniedException", reason, message)
            }
            What::AccessDenied | What::AccountDenied | What::KmsDenied => {
                let resource = format!("arn:aws:ec2:{}::snapshot/{subject}", call.region);
                Fail::denied(service, caller, &action, &resource)
            }
            What::Quota if ebs => Fail::reason(
                402,
                "ServiceQuotaExceededException",
                "DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
                "Your current service quotas do not allow you to perform this action.",
            ),
            What::Quota => {
                Fail::new(400, "ResourceLimitExceeded", "You have reached a limit of your account.")
            }
            What::PendingQuota if ebs => Fail::new(
                400,
                "ConcurrentLimitExceededException",
                "You have reached the limit for concurrent pending snapshots.",
            ),
            What::PendingQuota => {
                Fail::new(400, "PendingSnapshotLimitExceeded", "Too many snapshots are pending.")
            }
            What::Validation if ebs => {
                let reason = self.reason.as_deref().unwrap_or("INVALID_PARAMETER_VALUE");
                Fail::validation(reason, self.message.as_deref().unwrap_or("The request is not valid."))
            }
            What::ExpiredToken => match service {
                Service::Ec2 => Fail::new(400, "RequestExpired", "Request has expired."),
                Service::Sts => {
                    Fail::new(403, "ExpiredToken", "The security token included in the request is expired")
                }
                _ => Fail::new(
                    if ebs { 403 } else { 400 },
                    "ExpiredTokenException",
                    "The security token included in the request is expired",
                ),
            },
            _ => Fail {
                status: self.status.unwrap_or(400),
                code: self.code.clone().unwrap_or_else(|| "InvalidParameterValue".into()),
                message: self.message.clone().unwrap_or_else(|| "The request is not valid.".into()),
                reason: self.reason.clone(),
            },
        }
    }
}

/// The generator `splitmix64`: the same numbers from the same seed, everywhere.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(json: &str, blocks: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut script = vec![Armed::new(serde_json::from_str(json).unwrap())];
        let call = |block| Call {
            service: Service::Ebs,
            operation: "PutSnapshotBlock".into(),
            region: "us-east-1".into(),
            subject: Some("snap-1".into()),
            block: Some(block),
        };
        let hit = |block: &u32| plan(&mut script, &call(*block), Moments::default(), "me").fail.is_some();
        blocks.filter(hit).collect()
    }

    #[test]
    fn conditions_choose_calls() {
        let put = |when: &str| format!(r#"{{"op":"PutSnapshotBlock",{when},"do":"throttle"}}"#);
        assert_eq!(fired(&put(r#""nth":[1,3]"#), 0..5), [0, 2]);
        assert_eq!(fired(&put(r#""from":2,"every":3"#), 0..8), [1, 4, 7]);
        assert_eq!(fired(&put(r#""blocks":[3,null],"times":2"#), 0..9), [3, 4]);
        assert_eq!(fired(&put(r#""tries":2"#), [0, 0, 0, 1].into_iter()), [0, 0, 1]);
        assert_eq!(fired(&put(r#""since":"snapshot-start""#), 0..3), [0; 0]);
        let some = fired(&put(r#""probability":0.25,"seed":1"#), 0..1000).len();
        assert!((200..300).contains(&some), "{some}");
        assert_eq!(fired(r#"{"op":["A","B"],"do":"throttle"}"#, 0..3), [0; 0]);
    }
}
