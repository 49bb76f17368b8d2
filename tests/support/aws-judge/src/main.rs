//! `aws-judge [--config FILE|JSON] [--faults FILE|JSON] [--port N] [--forever]`

use std::io::{self, Read, Write};
use std::process::ExitCode;

use aws_judge::{Config, Judge};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "aws-judge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    let (mut port, mut faults, mut forever) = (0, None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--config" => config = serde_json::from_str(&text(&value()?)?)?,
            "--faults" => faults = Some(text(&value()?)?),
            "--port" => port = value()?.parse()?,
            "--forever" => forever = true,
            other => return Err(format!("{other} isn't known; see README.md").into()),
        }
    }
    let judge = Judge::start_on(config, port)?;
    if let Some(faults) = faults {
        judge.set_faults(&faults)?;
    }
    let env: std::collections::BTreeMap<_, _> = judge.env().into_iter().collect();
    let line = serde_json::json!({"port": judge.port(), "url": judge.url(), "env": env});
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    if forever {
        loop {
            std::thread::park();
        }
    }
    io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink())?;
    Ok(())
}

/// JSON as it is, or a file's content.
fn text(value: &str) -> io::Result<String> {
    if value.trim_start().starts_with(['{', '[']) { Ok(value.into()) } else { std::fs::read_to_string(value) }
}
