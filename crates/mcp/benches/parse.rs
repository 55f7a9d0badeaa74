//! What judging a body costs: 300 bytes, 10 KB and 1 MB.

use std::hint::black_box;

use countermark_mcp::{Limits, parse};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn body(size: usize) -> Vec<u8> {
    let head = concat!(
        r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"post_entry","_meta":{"#,
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28"},"arguments":{"account":"4711","amount":12.5,"entries":["#
    );
    let entry = r#"{"date":"2026-11-23","text":"paper, pens and é","amount":-3.25}"#;
    let tail = "]}}}";
    let count = (size - head.len() - tail.len()) / (entry.len() + 1);
    let entries = vec![entry; count.max(1)].join(",");
    format!("{head}{entries}{tail}").into_bytes()
}

fn judge(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("parse");
    for (name, size) in [("300 B", 300), ("10 KB", 10_000), ("1 MB", 1_000_000)] {
        let body = body(size);
        assert!(parse(&body, &limits).is_ok());
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| b.iter(|| parse(black_box(&body), &limits).is_ok()));
    }
    group.finish();
}

criterion_group!(benches, judge);
criterion_main!(benches);
