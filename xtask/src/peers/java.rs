//! The Java SDK's server: Maven brings the SDK from Maven Central and compiles our few lines against it.

use std::path::Path;

use anyhow::Result;

use super::{copy, is_fresh, required, stamp};
use crate::command::Program;
use crate::context::Context;

const SOURCE: &str = "src/main/java/Ledger.java";

pub(super) fn set_up(context: &Context, home: &Path) -> Result<()> {
    required("java")?;
    required("mvn")?;
    copy(context, "java", home, &["pom.xml", SOURCE])?;
    let recipe = std::fs::read_to_string(home.join("pom.xml"))? + &std::fs::read_to_string(home.join(SOURCE))?;
    if is_fresh(home, &recipe) {
        return Ok(());
    }
    Program::new("mvn").args(["--batch-mode", "--quiet", "--no-transfer-progress", "package"]).directory(home).run()?;
    stamp(home, &recipe)
}
