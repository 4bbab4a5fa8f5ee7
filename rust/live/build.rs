//! Builds the launcher, which `children` embeds.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

const LAUNCHER: &str = "../launcher";
const PROFILE: &str = "launcher";

fn main() {
    for path in ["Cargo.toml", "src"] {
        println!("cargo::rerun-if-changed={LAUNCHER}/{path}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let (out, target) = (variable("OUT_DIR"), variable("TARGET"));
    // A folder of its own: cargo holds the lock of the one that this crate is built in.
    let folder = Path::new(&out).join("launcher");
    let status = Command::new(variable("CARGO"))
        // Whoever builds this crate has read Cargo.lock and fetched all that is needed.
        .args(["build", "--quiet", "--locked", "--offline", "--package", "ferroflow-launcher"])
        .args(["--bin", "ferroflow-launcher", "--profile", PROFILE, "--target", &target])
        .args(["--manifest-path", &format!("{LAUNCHER}/Cargo.toml")])
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_BUILD_BUILD_DIR", &folder)
        // clippy and its like look at the launcher as a member of the workspace; here it is compiled.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS")
        .status()
        .expect("cargo can be run by what cargo runs");
    assert!(status.success(), "the launcher can't be built: see above");
    let program = folder.join(target).join(PROFILE).join("ferroflow-launcher");
    fs::copy(program, Path::new(&out).join("ferroflow-launcher")).expect("the launcher has been built");
}
