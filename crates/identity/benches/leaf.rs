//! What it costs to read a leaf and to take its claim: `cargo bench -p countermark-identity`.

use std::hint::black_box;

use countermark_identity::{Leaf, MapEntry, SanMap};
use criterion::{Criterion, criterion_group, criterion_main};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};

fn svid() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::URI("spiffe://agents.internal/agent/billing-bot".try_into()?),
        SanType::DnsName("billing-bot.agents.internal".try_into()?),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params.self_signed(&KeyPair::generate()?)?.der().to_vec())
}

fn map(entries: usize) -> Result<SanMap, Box<dyn std::error::Error>> {
    let entry = |at| MapEntry { san: format!("dns:host-{at}.corp"), agent: format!("agent-{at}"), bundle: None };
    Ok(SanMap::new("agents.internal".parse()?, (0..entries).map(entry))?)
}

fn benches(criterion: &mut Criterion) {
    let (Ok(der), Ok(map)) = (svid(), map(10_000)) else { return };
    let Ok(leaf) = Leaf::parse(&der) else { return };
    criterion.bench_function("parse a leaf", |bencher| bencher.iter(|| Leaf::parse(black_box(&der))));
    criterion.bench_function("claim of a leaf, 10,000 map entries", |bencher| {
        bencher.iter(|| black_box(&leaf).claim(black_box(&map)));
    });
}

criterion_group!(all, benches);
criterion_main!(all);
