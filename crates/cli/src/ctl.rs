//! `countermark ctl`: asks and tells a rotation that runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countermark_identity::{Clock, SystemClock, UnixTime};
use countermark_rotate::{
    Config, CredentialStatus, Status,
    config::ConfigError,
    ctl::{self, Answer, Question},
};

use crate::{
    failure::{Exit, Explain, Outcome, failed, usage},
    output::{self, BAD, GOOD, JsonFlag, WARN, line, styled},
    rotate, runtime,
};

/// Ask and tell a `countermark rotate` that runs on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  countermark ctl status --config /etc/countermark/rotate.toml\n  \
    countermark ctl renew ledger --socket /run/countermark/rotate.sock\n  countermark ctl why ledger")]
pub(crate) struct CtlArgs {
    #[command(subcommand)]
    verb: Verb,
    /// The daemon's configuration, which says where its socket is
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/countermark/rotate.toml")]
    config: PathBuf,
    /// The daemon's socket itself
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How every credential stands; exit 1 when one cannot be used
    Status,
    /// Renew a credential now
    Renew {
        /// Its name in the configuration
        name: String,
    },
    /// Why a credential stands as it does, and when it is renewed
    Why {
        /// Its name in the configuration
        name: String,
    },
}

pub(crate) fn run(args: &CtlArgs) -> Outcome<Exit> {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => {
            let next = "give --config FILE, or --socket PATH";
            let config = Config::load(&args.config).map_err(|error| match error {
                ConfigError::Io { .. } => failed(error.to_string(), next),
                _ => usage(error.to_string(), next),
            })?;
            let socket = rotate::socket(&config);
            let packaged = PathBuf::from(RUNTIME).join(rotate::SOCKET);
            // The unit has a directory for run-time files that this shell knows nothing of.
            if config.socket.is_none() && !socket.exists() && packaged.exists() { packaged } else { socket }
        }
    };
    let question = match &args.verb {
        Verb::Status => Question::Status,
        Verb::Renew { name } => Question::Renew { name: name.clone() },
        Verb::Why { name } => Question::Why { name: name.clone() },
    };
    let answer = runtime::short(async {
        ctl::ask(&socket, &question).await.or_failed(
            format!("no rotation answers at {}", socket.display()),
            "start `countermark rotate --config FILE`, and ask as the same user",
        )
    })?;
    tell(args, answer)
}

fn tell(args: &CtlArgs, answer: Answer) -> Outcome<Exit> {
    let json = JsonFlag { json: args.json };
    match answer {
        Answer::Refused { message } => Err(failed(message, "`countermark ctl status` lists the names")),
        Answer::Renewing => {
            if json.json {
                output::json(&serde_json::json!({"renewing": true}))?;
            } else {
                line("the renewal begins; `countermark ctl why NAME` says how it went")?;
            }
            Ok(Exit::Done)
        }
        Answer::Status(status) => {
            let exit = if status.ready { Exit::Done } else { Exit::Denied };
            if json.json {
                output::json(&status)?
            } else {
                table(&status)?
            }
            Ok(exit)
        }
        Answer::Why { credential, lines } => {
            if json.json {
                output::json(&serde_json::json!({"credential": credential, "why": lines}))?;
            } else {
                for text in lines {
                    line(text)?;
                }
            }
            Ok(Exit::Done)
        }
    }
}

fn table(status: &Status) -> Outcome<()> {
    let now = SystemClock.now();
    let rows = status.credentials.iter().map(|credential| {
        let style = match credential.health.as_str() {
            "green" => GOOD,
            "amber" => WARN,
            _ => BAD,
        };
        [
            credential.name.clone(),
            styled(style, &credential.health),
            credential.generation.map_or_else(|| "-".to_owned(), |number| number.to_string()),
            span(credential.not_after, now),
            next(credential, now),
            trouble(credential),
        ]
    });
    output::table(["NAME", "HEALTH", "GENERATION", "EXPIRES IN", "RENEWED IN", "TROUBLE"], rows)
}

fn next(credential: &CredentialStatus, now: UnixTime) -> String {
    match credential.retry_in {
        Some(retry) => format!("{retry}s (retry)"),
        None if credential.renewing => "now".to_owned(),
        None => span(credential.renewal, now),
    }
}

fn trouble(credential: &CredentialStatus) -> String {
    if let Some(failure) = credential.failure.as_ref().filter(|_| credential.failures > 0) {
        return format!("{}: {}", failure.step, failure.cause);
    }
    if credential.awaiting_approval {
        return "waiting for approval".to_owned();
    }
    let undone = credential.duties.iter().find(|duty| !duty.done && duty.failures > 0);
    undone.map(|duty| format!("{}: {}", duty.what, duty.cause.as_deref().unwrap_or(""))).unwrap_or_default()
}

/// How long until a time, in the two largest units.
fn span(at: Option<u64>, now: UnixTime) -> String {
    let Some(at) = at else { return "-".to_owned() };
    let left = at.saturating_sub(now.as_secs());
    match left {
        0 => "over".to_owned(),
        1..=59 => format!("{left}s"),
        60..=3599 => format!("{}m{:02}s", left / 60, left % 60),
        3600..=86_399 => format!("{}h{:02}m", left / 3600, left / 60 % 60),
        _ => format!("{}d{:02}h", left / 86_400, left / 3600 % 24),
    }
}

/// The `RuntimeDirectory=` of the packaged unit.
const RUNTIME: &str = "/run/countermark";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let now = UnixTime::from_secs(1000);
        for (at, text) in [(1000, "over"), (1059, "59s"), (1061, "1m01s"), (4600, "1h00m"), (1000 + 90_000, "1d01h")] {
            assert_eq!(span(Some(at), now), text);
        }
        assert_eq!(span(None, now), "-");
    }
}
