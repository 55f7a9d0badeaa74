use std::time::Duration;

use super::*;
use crate::{
    KeyPair, KeyType,
    testing::{NOW, OpenSsl, chain, leaf},
    to_pem,
};

fn week(revoked: &[Revoked], number: u64) -> CrlPlan<'_> {
    CrlPlan { number, this_update: NOW, next_update: NOW.saturating_add(Duration::from_secs(7 * 86_400)), revoked }
}

#[test]
fn openssl_reads_it_and_refuses_the_revoked() {
    let (root, signer) = chain();
    let openssl = OpenSsl::new();
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let leaves: Vec<Vec<u8>> = (0..2).map(|_| leaf(&signer, "agent/a", key.public_key(), None).unwrap()).collect();
    let serial = {
        let facts = countermark_identity::Leaf::parse(&leaves[0]).unwrap();
        facts.serial().clone()
    };
    let revoked = [Revoked { serial, at: NOW, reason: RevocationReason::KeyCompromise }];
    let own = signer.crl(&week(&revoked, 300)).unwrap();
    let roots = root.crl(&week(&[], 1)).unwrap();
    let crls = to_pem("X509 CRL", &own) + &to_pem("X509 CRL", &roots);
    openssl.write("crl.pem", crls.as_bytes());
    openssl.write("root.crt", to_pem("CERTIFICATE", root.certificate()).as_bytes());
    openssl.write("intermediate.crt", to_pem("CERTIFICATE", signer.certificate()).as_bytes());
    openssl.write("revoked.crt", to_pem("CERTIFICATE", &leaves[0]).as_bytes());
    openssl.write("good.crt", to_pem("CERTIFICATE", &leaves[1]).as_bytes());
    let text = openssl.run("crl -in crl.pem -noout -text");
    assert!(text.contains("X509v3 CRL Number: \n                300") && text.contains("Key Compromise"), "{text}");
    let verify = format!(
        "verify -x509_strict -crl_check_all -CRLfile crl.pem -attime {} -CAfile root.crt -untrusted intermediate.crt",
        NOW.as_secs()
    );
    openssl.run(&format!("{verify} good.crt"));
    assert!(openssl.try_run(&format!("{verify} revoked.crt")).unwrap_err().contains("certificate revoked"));
}

#[test]
fn every_reason_is_written_and_read_by_its_name() {
    let (_, signer) = chain();
    for reason in RevocationReason::ALL {
        assert_eq!(reason.as_str().parse(), Ok(reason));
        let serial = Serial::from_be_bytes(&[7; 16]).unwrap();
        signer.crl(&week(&[Revoked { serial, at: NOW, reason }], 1)).unwrap();
    }
    let unknown = "certificateHold".parse::<RevocationReason>();
    assert_eq!(unknown, Err(CrlError::UnknownReason("certificateHold".into())));
}

#[test]
fn numbers_have_no_sign() {
    let (_, signer) = chain();
    for number in [1, 127, 128, 255, 256, 1 << 31, u64::MAX] {
        signer.crl(&week(&[], number)).unwrap();
    }
}

#[test]
fn a_crl_without_time_is_refused() {
    let (_, signer) = chain();
    let plan = CrlPlan { next_update: NOW, ..week(&[], 1) };
    assert_eq!(signer.crl(&plan).unwrap_err(), CrlError::NoTime);
}

#[test]
fn lint_finds_what_is_not_as_planned() {
    let (root, signer) = chain();
    let serial = Serial::from_be_bytes(&[7; 16]).unwrap();
    let revoked = [Revoked { serial, at: NOW, reason: RevocationReason::Unspecified }];
    let plan = week(&revoked, 5);
    let der = signer.crl(&plan).unwrap();
    let judge = |plan: &CrlPlan<'_>| lint::lint_crl(&der, signer.facts(), plan);
    assert_eq!(judge(&plan), Ok(()));
    assert_eq!(judge(&CrlPlan { number: 6, ..plan }), Err(LintError::Crl("number")));
    assert_eq!(judge(&CrlPlan { this_update: UnixTime::from_secs(1), ..plan }), Err(LintError::Crl("thisUpdate")));
    assert_eq!(judge(&CrlPlan { next_update: NOW, ..plan }), Err(LintError::Crl("nextUpdate")));
    assert_eq!(judge(&CrlPlan { revoked: &[], ..plan }), Err(LintError::Crl("list of serials")));
    let two = [revoked[0].clone(), revoked[0].clone()];
    assert_eq!(judge(&CrlPlan { revoked: &two, ..plan }), Err(LintError::Crl("list of serials")));
    assert_eq!(lint::lint_crl(&der, root.facts(), &plan), Err(LintError::IssuerName));
    assert_eq!(lint::lint_crl(&der[1..], root.facts(), &plan), Err(LintError::Malformed));
    let mut broken = der.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(lint::lint_crl(&broken, signer.facts(), &plan), Err(LintError::Signature));
}
