//! The files of the project, without asking git: a tarball has the same rules.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Folders with code that users do not get.
const NOT_PRODUCT: &[&str] = &["bench", "benches", "examples", "fuzz", "tests", "xtask"];

/// Folders that hold nothing of ours. A build folder of any name is known by the tag that cargo leaves in it.
const NOT_OURS: &[&str] = &[".git", "node_modules", "target"];
const BUILD_FOLDER_TAG: &str = "CACHEDIR.TAG";

pub struct File {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub source: String,
}

/// Every text file of the project, read once.
pub fn files() -> &'static [File] {
    static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
        let mut files = Vec::new();
        walk(&root(), &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    });
    &FILES
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the daemon lies in the workspace").to_owned()
}

pub fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

pub fn is_product(path: &str) -> bool {
    is_rust(path) && !path.ends_with("/tests.rs") && !path.split('/').any(|part| NOT_PRODUCT.contains(&part))
}

fn walk(folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap();
        if NOT_OURS.iter().any(|name| path.ends_with(name)) || path.join(BUILD_FOLDER_TAG).exists() {
            continue;
        }
        if kind.is_dir() {
            walk(&path, files);
        } else if kind.is_file()
            && let Ok(source) = std::fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            files.push(File { path, source });
        }
    }
}
