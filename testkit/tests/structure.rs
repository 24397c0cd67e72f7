//! The shape of the workspace: who may depend on whom, and what may not stand in its code.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every crate of the workspace and the members it may depend on.
const MAY: &[(&str, &[&str])] = &[
    ("models", &[]),
    ("engine", &["models"]),
    ("ml", &["models"]),
    ("store", &["models"]),
    ("actors", &["models", "engine", "ml", "store"]),
    ("web", &["models", "engine", "ml", "store", "actors"]),
    ("mlinzi", &["models", "engine", "ml", "store", "actors", "web", "loadtests"]),
    ("loadtests", &["models", "engine", "ml", "store", "actors", "web"]),
    ("testkit", &["models"]),
];

/// Libraries and the only members that may use them in the product.
const ONLY: &[(&str, &[&str])] = &[
    ("sqlx", &["store", "testkit"]),
    ("ndarray", &["ml"]),
    ("linfa", &["ml"]),
    ("redis", &["store"]),
    ("cryptoki", &["mlinzi"]),
    ("lettre", &["actors"]),
    ("rskafka", &["actors"]),
    ("async-nats", &["actors", "loadtests"]),
    ("reqwest", &["actors", "mlinzi", "loadtests"]),
    ("flate2", &["actors"]),
    ("krilla", &["web"]),
    ("postcard", &["engine"]),
    ("zstd", &["actors"]),
    ("actix", &["actors"]),
    ("actix-web", &["web", "loadtests"]),
    ("actix-tls", &["web"]),
    ("actix-ws", &["web", "loadtests"]),
    ("opentelemetry-proto", &["mlinzi"]),
    ("tokio", &["store", "actors", "web", "mlinzi", "loadtests", "testkit"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in the workspace").to_owned()
}

fn members() -> Vec<Package> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().expect("metadata");
    metadata.packages
}

fn needs(package: &Package) -> BTreeSet<&str> {
    package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.as_str()).collect()
}

#[test]
fn dependencies_point_one_way() {
    let members = members();
    let names: BTreeSet<&str> = members.iter().map(|p| p.name.as_str()).collect();
    for package in &members {
        let allowed = MAY.iter().find(|(name, _)| *name == package.name.as_str());
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{} has no place in the direction", package.name));
        for used in needs(package).intersection(&names) {
            assert!(allowed.contains(used), "{} may not depend on {used}", package.name);
        }
    }
}

#[test]
fn each_library_stays_in_its_crate() {
    for package in members() {
        for (library, allowed) in ONLY {
            let used = needs(&package).contains(library);
            assert!(!used || allowed.contains(&package.name.as_str()), "{} may not use {library}", package.name);
        }
    }
}

#[test]
fn no_unfinished_code() {
    let forbidden = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!("));
    let mut files = Vec::new();
    for folder in ["models", "engine", "store", "actors", "web", "loadtests", "src", "tests"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the folders are where they were");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        for word in &forbidden {
            assert!(!text.contains(word), "{word} in {}", file.display());
        }
        let unsafe_code = text.lines().any(|line| line.contains("unsafe {") || line.contains("unsafe impl"));
        let proven = file.ends_with("engine/src/register/index/pages.rs");
        assert!(!unsafe_code || proven, "unsafe code in {}", file.display());
        let dynamic_sql = text.contains("AssertSqlSafe");
        assert!(!dynamic_sql || file.starts_with(root().join("store")), "dynamic SQL in {}", file.display());
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}
