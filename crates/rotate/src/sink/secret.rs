//! A Kubernetes Secret of type `kubernetes.io/tls`, as a manifest for `kubectl apply -f`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countermark_credential::directory::replace_file_as;
use serde_json::{Map, Value, json};

use super::is_delivered;
use crate::config::{CredentialEntry, SecretSink};

/// Writes the manifest of the current generation, by one rename. JSON is YAML, too.
pub(crate) fn manifest(entry: &CredentialEntry, generation: u64, sink: &SecretSink) -> Result<(), String> {
    let source = entry.directory.join("generations").join(generation.to_string());
    let failed = |what: &dyn std::fmt::Display| format!("cannot write the manifest {}: {what}", sink.path.display());
    let mut data = Map::new();
    // The roots of the trust directory may be newer than those of the generation. Revocation lists outgrow a Secret.
    let roots = std::fs::read_dir(entry.directory.join("trust/current")).into_iter().flatten();
    let roots = roots.filter(|file| file.as_ref().is_ok_and(|file| !is_list(&file.file_name())));
    for file in std::fs::read_dir(&source).map_err(|error| failed(&error))?.chain(roots) {
        let file = file.map_err(|error| failed(&error))?;
        let Some(name) = file.file_name().to_str().filter(|name| is_delivered(name)).map(str::to_owned) else {
            continue;
        };
        let content = zeroize::Zeroizing::new(std::fs::read(file.path()).map_err(|error| failed(&error))?);
        data.insert(name, Value::String(STANDARD.encode(&*content)));
    }
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
    replace_file_as(&sink.path, text.as_bytes(), entry.access).map_err(|error| failed(&error))
}

fn is_list(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.ends_with(".crl.pem"))
}
