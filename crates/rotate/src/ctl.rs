//! The local socket by which a rotation is asked and told: one line of JSON in, one out.
//!
//! The socket is its owner's alone (0600), and who connects is checked besides: the same user, or root.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countermark_identity::Clock;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::run::Handle;
use crate::status::{CredentialStatus, Status};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "both ends of the socket are of one version")]
pub enum Question {
    /// Renew this credential now.
    Renew {
        /// Its name.
        name: String,
    },
    /// How everything stands.
    Status,
    /// Why this credential stands as it does.
    Why {
        /// Its name.
        name: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "both ends of the socket are of one version")]
pub enum Answer {
    /// The renewal begins.
    Renewing,
    /// How everything stands.
    Status(Status),
    /// There is no credential of that name, or the question was none.
    Refused {
        /// Why.
        message: String,
    },
    /// Why a credential stands as it does.
    Why {
        /// How it stands.
        credential: Box<CredentialStatus>,
        /// In sentences.
        lines: Vec<String>,
    },
}

/// A socket that listens.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens at `path`, which is this user's alone. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// What the file system said; a daemon that still listens there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there"));
        }
        // Made under another name, so that nobody ever meets it with another mode.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = path.with_file_name(name);
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers until `shutdown`.
    pub async fn serve(self, handle: Handle, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let (handle, clock) = (handle.clone(), Arc::clone(&clock));
                        // Whoever goes away early gets no answer.
                        connections.spawn(async move {
                            let _gone = tokio::time::timeout(PATIENCE, answer(stream, handle, clock)).await;
                        });
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One that is left behind is replaced by the next daemon.
        let _replaced_later = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, handle: Handle, clock: Arc<dyn Clock>) -> io::Result<()> {
    let peer = socket_peercred(&stream)?;
    let (reader, mut writer) = stream.into_split();
    let answer = if peer.uid == geteuid() || peer.uid.is_root() {
        let mut line = Vec::new();
        BufReader::new(reader.take(LONGEST_QUESTION)).read_until(b'\n', &mut line).await?;
        match serde_json::from_slice(&line) {
            Ok(question) => reply(question, &handle, clock.as_ref()).await,
            Err(_) => Answer::Refused { message: "the question is not one line of JSON with a `verb`".to_owned() },
        }
    } else {
        Answer::Refused { message: format!("user {} may not ask here", peer.uid.as_raw()) }
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

async fn reply(question: Question, handle: &Handle, clock: &dyn Clock) -> Answer {
    let nobody = |name: &str| Answer::Refused { message: format!("there is no credential `{name}`") };
    match question {
        Question::Status => match handle.status().await {
            Ok(status) => Answer::Status(status),
            Err(error) => Answer::Refused { message: error.to_string() },
        },
        Question::Renew { name } => match handle.renew(&name).await {
            Ok(true) => Answer::Renewing,
            Ok(false) => nobody(&name),
            Err(error) => Answer::Refused { message: error.to_string() },
        },
        Question::Why { name } => match handle.credential(&name).await {
            Ok(Some(credential)) => {
                Answer::Why { lines: credential.why(clock.now()), credential: Box::new(credential) }
            }
            Ok(None) => nobody(&name),
            Err(error) => Answer::Refused { message: error.to_string() },
        },
    }
}

/// Asks the daemon that listens at `path`.
///
/// # Errors
/// Nobody listens there, or what is answered is no answer.
pub async fn ask(path: &Path, question: &Question) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await?;
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        serde_json::from_slice(&answer).map_err(io::Error::from)
    };
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

const CONNECTIONS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_QUESTION: u64 = 4096;
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_one_line_of_json() {
        let read = |text: &str| serde_json::from_str::<Question>(text);
        assert_eq!(read("{\"verb\":\"status\"}").unwrap(), Question::Status);
        assert_eq!(read("{\"verb\":\"why\",\"name\":\"x\"}").unwrap(), Question::Why { name: "x".to_owned() });
        for wrong in ["", "{}", "{\"verb\":\"stop\"}", "{\"verb\":\"renew\"}", "{\"verb\":\"status\",\"name\":1}"] {
            let _either_way = read(wrong);
        }
        assert!(read("{\"verb\":\"stop\"}").is_err() && read("{\"verb\":\"renew\"}").is_err());
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_goes_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rotate.sock");
        std::fs::write(&path, "left behind").unwrap();
        let control = Control::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Control::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(control);
        assert!(!path.exists());
    }
}
