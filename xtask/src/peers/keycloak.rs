//! Keycloak, set up as its example does it for whoever runs that alone: Maven brings it from Maven Central.

use std::path::Path;

use anyhow::Result;

use super::{is_fresh, required, stamp};
use crate::command::Program;
use crate::context::Context;

pub(super) fn set_up(context: &Context, home: &Path) -> Result<()> {
    for program in ["java", "mvn", "python3"] {
        required(program)?;
    }
    let install = context.root.join("examples/keycloak/install.py");
    let recipe = std::fs::read_to_string(&install)?;
    if is_fresh(home, &recipe) {
        return Ok(());
    }
    Program::new("python3").args([install.as_path(), home]).run()?;
    stamp(home, &recipe)
}
