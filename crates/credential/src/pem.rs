//! Reading and writing PEM, strictly: a label that has no business in the file is an error, never skipped.

use pem_rfc7468::LineEnding;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

/// One PEM section.
pub(crate) type Section = (SectionKind, Vec<u8>);

/// Reads every section of `pem` and refuses any whose label is not among `allowed`.
pub(crate) fn read(pem: &[u8], allowed: &[SectionKind]) -> Result<Vec<Section>, PemError> {
    for label in labels(pem) {
        // OpenSSL puts the name of the curve before the key, which names it once more.
        if label == b"EC PARAMETERS" && allowed.contains(&SectionKind::EcPrivateKey) {
            continue;
        }
        let known = SectionKind::try_from(label).is_ok_and(|kind| allowed.contains(&kind));
        if !known {
            return Err(PemError::Unexpected { label: display(label) });
        }
    }
    let mut sections = Vec::new();
    for section in Section::pem_slice_iter(pem) {
        sections.push(section.map_err(PemError::from)?);
    }
    Ok(sections)
}

/// Appends one section to `out`, and leaves no other copy of it behind: it may be a key.
pub(crate) fn write(out: &mut String, label: &str, der: &[u8]) {
    if let Ok(text) = pem_rfc7468::encode_string(label, LineEnding::LF, der).map(Zeroizing::new) {
        out.push_str(&text);
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
}

/// The labels of all `BEGIN` lines.
fn labels(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    pem.split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter_map(|line| line.strip_prefix(b"-----BEGIN "))
        .map(|rest| rest.split(|byte| *byte == b'-').next().unwrap_or(rest))
}

fn display(label: &[u8]) -> String {
    String::from_utf8_lossy(label).chars().take(40).flat_map(char::escape_default).collect()
}

/// Why a PEM text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// A section begins and does not end.
    #[error("the PEM text is cut off: a section has no END line; write the file to a temporary name and rename it")]
    CutOff,
    /// A section is not base64 or its marker is broken.
    #[error("the PEM text is malformed: a section has a broken marker or is not base64")]
    Malformed,
    /// A section that does not belong here, such as an encrypted key.
    #[error("the PEM text holds a section `{label}` that does not belong here")]
    Unexpected {
        /// The label of its BEGIN line.
        label: String,
    },
}

impl From<rustls_pki_types::pem::Error> for PemError {
    fn from(error: rustls_pki_types::pem::Error) -> Self {
        match error {
            rustls_pki_types::pem::Error::MissingSectionEnd { .. } => Self::CutOff,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &[SectionKind] = &[SectionKind::Certificate];

    #[test]
    fn a_foreign_label_is_refused_not_skipped() {
        let mut pem = String::new();
        write(&mut pem, "CERTIFICATE", b"abc");
        write(&mut pem, "ENCRYPTED PRIVATE KEY", b"abc");
        let error = read(pem.as_bytes(), ALLOWED).unwrap_err();
        assert_eq!(error, PemError::Unexpected { label: "ENCRYPTED PRIVATE KEY".to_owned() });
    }

    #[test]
    fn the_name_of_a_curve_before_an_ec_key_is_passed_over() {
        let mut pem = String::new();
        write(&mut pem, "EC PARAMETERS", &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
        write(&mut pem, "EC PRIVATE KEY", b"abc");
        let found = |allowed: &[SectionKind]| read(pem.as_bytes(), allowed);
        assert_eq!(found(&[SectionKind::EcPrivateKey]).unwrap(), [(SectionKind::EcPrivateKey, b"abc".to_vec())]);
        assert!(matches!(found(ALLOWED), Err(PemError::Unexpected { label }) if label == "EC PARAMETERS"));
    }

    #[test]
    fn half_a_section_is_cut_off() {
        let mut pem = String::new();
        write(&mut pem, "CERTIFICATE", &[7; 300]);
        pem.truncate(pem.len() - 40);
        assert_eq!(read(pem.as_bytes(), ALLOWED).unwrap_err(), PemError::CutOff);
    }

    #[test]
    fn text_between_sections_is_ignored() {
        let mut pem = "Sequence: 4\n".to_owned();
        write(&mut pem, "CERTIFICATE", b"abc");
        pem.push_str("a comment\n");
        assert_eq!(read(pem.as_bytes(), ALLOWED).unwrap().len(), 1);
    }
}
