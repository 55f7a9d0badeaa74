//! `policy can`: one question, and the rule that answers it.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use countermark_identity::{AgentId, Identity, ServerId, SpiffeId};
use countermark_policy::{Action, Denied, Explanation, Policy, Rights};

use crate::{
    failure::{Exit, Outcome, usage},
    output::{self, BAD, GOOD, JsonFlag, line, styled},
};

/// Say whether an agent may, and which rule decides
///
/// Without --server, one line for each server that the policy names. Exit code 0 when it may (on
/// any of them), 1 when it may not.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["tool", "prompt", "resource", "method"]),
    after_help = "Examples:\n  countermark policy can billing-bot post_entry --policy policy.toml --server ledger\n  countermark policy can billing-bot --resource file:///srv/x --policy policy.toml"
)]
pub(super) struct CanArgs {
    /// The agent: its name, or the full SPIFFE ID of one of another trust domain
    agent: String,
    /// The tool that it would call
    tool: Option<String>,
    /// A prompt instead of a tool
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// A resource instead of a tool
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// Any other method instead of a tool
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// The policy file
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// A scope that the agent's token holds; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// A role that the agent's token holds; may be repeated
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Only on this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(args: &CanArgs) -> Outcome<Exit> {
    let policy = super::read(&args.policy)?;
    let agent = agent(&args.agent, &policy)?;
    let action = action(args);
    let (scopes, roles) = (sorted(&args.scope), sorted(&args.role));
    let rights = Rights::new(&scopes, &roles);
    let answers = match &args.server {
        None => policy.explain_all(&agent, action, rights),
        Some(name) => {
            let server = ServerId::new(policy.trust_domain(), name)
                .map_err(|error| usage(format!("--server {name}: {error}"), "write the name as in /server/<name>"))?;
            vec![policy.explain(&agent, &server, action, rights)]
        }
    };
    if args.json.json {
        output::json(&answers)?;
    } else {
        answers.iter().try_for_each(|answer| line(sentence(&agent, action, answer)))?;
        if answers.is_empty() {
            line("denied: the policy names no server")?;
        }
    }
    Ok(if answers.iter().any(|answer| answer.permitted) { Exit::Done } else { Exit::Denied })
}

fn sorted(words: &[String]) -> Vec<Box<str>> {
    let mut words: Vec<Box<str>> = words.iter().map(|word| word.as_str().into()).collect();
    words.sort_unstable();
    words
}

fn agent(text: &str, policy: &Policy) -> Outcome<AgentId> {
    let next = "write the name as in /agent/<name>, or spiffe://TRUST-DOMAIN/agent/NAME";
    if !text.starts_with("spiffe://") {
        return AgentId::new(policy.trust_domain(), text)
            .map_err(|error| usage(format!("the agent `{text}`: {error}"), next));
    }
    let id: SpiffeId = text.parse().map_err(|error| usage(format!("the agent `{text}`: {error}"), next))?;
    match Identity::try_from(id) {
        Ok(Identity::Agent(agent)) => Ok(agent),
        _ => Err(usage(format!("`{text}` is not an agent"), next)),
    }
}

fn action(args: &CanArgs) -> Action<'_> {
    match (&args.tool, &args.prompt, &args.resource, &args.method) {
        (Some(tool), ..) => Action::Tool(tool),
        (_, Some(prompt), ..) => Action::Prompt(prompt),
        (_, _, Some(uri), _) => Action::Resource(uri),
        (.., Some(method)) => Action::Method(method),
        (None, None, None, None) => Action::Protocol,
    }
}

fn sentence(agent: &AgentId, action: Action<'_>, answer: &Explanation) -> String {
    let what = action.subject().map_or_else(|| "the protocol".to_owned(), |(kind, name)| format!("{kind} {name}"));
    let verdict = if answer.permitted { styled(GOOD, "permitted") } else { styled(BAD, "denied") };
    let mut text = format!("{verdict}: {agent}, {what} on {}", answer.server);
    match (&answer.rule, &answer.denied) {
        (_, Some(denied @ (Denied::LacksScopes { .. } | Denied::LacksRole { .. }))) => {
            text.push_str(&format!(": {denied}"))
        }
        (Some(rule), _) => text.push_str(&format!(": {rule}")),
        (None, Some(denied)) => text.push_str(&format!(": {denied}")),
        (None, None) => {}
    }
    if let Some(because) = &answer.because {
        let who =
            because.group.as_ref().map_or_else(|| because.who.clone(), |group| format!("{} of @{group}", because.who));
        let name = because.name.as_ref().map_or_else(|| "everything".to_owned(), Clone::clone);
        text.push_str(&format!(" ({who} → {}: {name})", because.servers));
    }
    text
}
