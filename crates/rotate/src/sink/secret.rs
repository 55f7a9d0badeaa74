//! A Kubernetes Secret of type `kubernetes.io/tls`, as a manifest for `kubectl apply -f`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countermark_credential::directory::replace_file_as;
use serde_json::{Map, Value, json};

use super::{delivered, is_current};
use crate::config::{CredentialEntry, SecretSink};

/// Writes the manifest of the current generation, by one rename. JSON is YAML, too.
pub(crate) fn manifest(entry: &CredentialEntry, generation: u64, sink: &SecretSink) -> Result<(), String> {
    let failed = |what: &dyn std::fmt::Display| format!("cannot write the manifest {}: {what}", sink.path.display());
    if !is_current(entry, generation) {
        // The next one is written down on its own behalf.
        return Ok(());
    }
    let (_, files) = delivered(entry, generation).map_err(|error| failed(&error))?;
    // Revocation lists outgrow a Secret.
    let files = files.iter().filter(|(name, _)| !name.ends_with(".crl.pem"));
    let data: Map<_, _> =
        files.map(|(name, content)| (name.clone(), Value::String(STANDARD.encode(content)))).collect();
    let mut metadata = json!({
        "name": sink.name,
        "annotations": {"countermark.dev/generation": generation.to_string(), "countermark.dev/identity": entry.identity.to_string()},
    });
    if let (Some(namespace), Some(metadata)) = (&sink.namespace, metadata.as_object_mut()) {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data,
    });
    let text = zeroize::Zeroizing::new(format!("{manifest:#}\n"));
    if !is_current(entry, generation) {
        return Ok(());
    }
    replace_file_as(&sink.path, text.as_bytes(), entry.access).map_err(|error| failed(&error))
}
