//! What one decision costs with 10, 1,000 and 100,000 agents, and what it costs to read such a policy:
//! `cargo bench -p countermark-policy`.

use std::fmt::Write as _;
use std::hint::black_box;

use countermark_identity::{AgentId, ServerId, TrustDomain};
use countermark_policy::{Action, Policy};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Every agent has a grant of its own; every tenth is also in a group, every hundredth has a glob; denies are for all.
fn policy_of(agents: usize) -> Outcome<String> {
    let mut text = String::from("version = 1\ntrust_domain = \"agents.internal\"\n[groups]\nfinance = [");
    (0..agents).step_by(10).try_for_each(|at| write!(text, "\"agent-{at}\", "))?;
    text.push_str("\"audit-*\"]\n");
    for at in 0..agents {
        let tools = "\"read_*\", \"post_entry\", \"*_report\"";
        write!(text, "[[grant]]\nwho = [\"agent-{at}\"]\nservers = [\"ledger\", \"crm-*\"]\ntools = [{tools}]\n")?;
        if at % 100 == 0 {
            write!(text, "[[grant]]\nwho = [\"team-{at}-*\"]\nservers = [\"ledger\"]\ntools = [\"read_*\"]\n")?;
        }
    }
    text.push_str("[[grant]]\nwho = [\"@finance\"]\nservers = [\"ledger\"]\ntools = [\"close_month\"]\n");
    text.push_str("[[deny]]\nwho = [\"*\"]\nservers = [\"*\"]\ntools = [\"drop_*\"]\n");
    Ok(text)
}

fn decisions(criterion: &mut Criterion, agents: usize) -> Outcome<()> {
    let text = policy_of(agents)?;
    let policy = Policy::parse(&text)?;
    let own: TrustDomain = "agents.internal".parse()?;
    let caller = AgentId::new(&own, &format!("agent-{}", agents / 2))?;
    let stranger = AgentId::new(&own, "stranger")?;
    let ledger = ServerId::new(&own, "ledger")?;
    let mut group = criterion.benchmark_group("decision");
    for (name, who, tool) in [
        ("permit", &caller, "post_entry"),
        ("permit by glob", &caller, "monthly_report"),
        ("deny", &caller, "drop_ledger"),
        ("no grant", &caller, "unlisted"),
        ("stranger", &stranger, "post_entry"),
    ] {
        group.bench_function(BenchmarkId::new(name, agents), |bencher| {
            bencher.iter(|| policy.authorize(black_box(who), black_box(&ledger), Action::Tool(black_box(tool))));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("read a policy");
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("parse", agents), |bencher| bencher.iter(|| Policy::parse(black_box(&text))));
    group.finish();
    Ok(())
}

#[expect(clippy::expect_used, reason = "a benchmark that cannot be set up must say so")]
fn benches(criterion: &mut Criterion) {
    for agents in [10, 1_000, 100_000] {
        decisions(criterion, agents).expect("the generated policy parses");
    }
}

criterion_group!(all, benches);
criterion_main!(all);
