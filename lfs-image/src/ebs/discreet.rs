//! What a service says, without what it repeats of the request.
//!
//! A refused signature is answered with all that was to be signed, the session's token included.

/// Behind this come some hundred letters that only the account can read, and wants to.
const FOR_THE_ACCOUNT: &str = "Encoded authorization failure message";
/// Secret keys have 40 letters, tokens hundreds.
const LONG: usize = 40;

/// The text with keys, their names and tokens left out: whatever looks like one.
pub(super) fn discreet(text: &str) -> String {
    let (text, rest) = text.split_at(text.find(FOR_THE_ACCOUNT).unwrap_or(text.len()));
    let mut out = String::with_capacity(text.len() + rest.len());
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '%');
    let mut left = text;
    while !left.is_empty() {
        let (word, after) = left.split_at(left.find(|c| !is_part(c)).unwrap_or(left.len()));
        out.push_str(if is_secret(word) { "…" } else { word });
        let (between, after) = after.split_at(after.find(is_part).unwrap_or(after.len()));
        out.push_str(between);
        left = after;
    }
    out.push_str(rest);
    out
}

fn is_secret(word: &str) -> bool {
    let is_name = |word: &str| {
        word.bytes().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit()).count() >= 16
            && (word.starts_with("AKIA") || word.starts_with("ASIA"))
    };
    word.len() >= LONG || is_name(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_are_left_out() {
        let secret = "planted/secret+key/0123456789abcdefABCDEF";
        for (said, told) in [
            ("Credential=AKIAPLANTEDEXAMPLE01/20260101/x, no", "Credential=…, no".to_owned()),
            ("AWSAccessKeyId=ASIAPLANTEDEXAMPLE01&X=1", "AWSAccessKeyId=…&X=1".to_owned()),
            (&format!("it is {secret}=="), "it is …==".to_owned()),
            ("the snapshot snap-0123456789abcdef0 does not exist", String::new()),
            ("arn:aws:iam::123456789012:user/judge may not ebs:StartSnapshot", String::new()),
            (&format!("no. {FOR_THE_ACCOUNT}: {}", "aB3".repeat(200)), String::new()),
            ("", String::new()),
        ] {
            assert_eq!(discreet(said), if told.is_empty() { said } else { &told });
        }
    }
}
