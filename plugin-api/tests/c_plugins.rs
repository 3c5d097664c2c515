//! The plugins written in C compile with the system's compiler, strictly, in every variant.
use std::path::PathBuf;
use std::process::Command;

fn plugins() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../plugins")
}

fn compile(arguments: &[&str]) {
    let include = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("include");
    let strictly = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"];
    let compiled = Command::new("cc").args(strictly).arg("-I").arg(include).args(arguments).output();
    let compiled = compiled.unwrap_or_else(|error| panic!("cc: {error}; install a C compiler"));
    assert!(compiled.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&compiled.stderr));
}

#[test]
fn hello_is_built_by_the_line_in_its_readme() {
    let folder = tempfile::tempdir().unwrap();
    let readme = std::fs::read_to_string(plugins().join("hello-c/README.md")).unwrap();
    let line = readme.lines().find(|line| line.starts_with("cc ")).expect("the README has the line");
    let library = folder.path().join("libhello.so");
    let arguments = line.replace("libhello.so", library.to_str().unwrap());
    let built = Command::new("cc").args(arguments.split(' ').skip(1)).current_dir(plugins().join("hello-c")).output();
    assert!(built.unwrap().status.success(), "{line}");
    let bytes = std::fs::read(library).unwrap();
    assert!(bytes.windows(16).any(|bytes| bytes == b".note.broadcastd"), "the note is in the file");
}

#[test]
fn hello_compiles_strictly() {
    compile(&["-fsyntax-only", plugins().join("hello-c/hello.c").to_str().unwrap()]);
}

#[test]
fn every_fault_compiles() {
    let source = plugins().join("faulty-c/faulty.c");
    let text = std::fs::read_to_string(&source).unwrap();
    let (_, list) = text.split_once("enum fault {").unwrap();
    let (list, _) = list.split_once("};").unwrap();
    let faults: Vec<_> = list.lines().filter_map(|line| line.trim().split(',').next()).collect();
    let faults: Vec<_> = faults.iter().map(|fault| fault.split(' ').next().unwrap()).collect();
    let faults: Vec<_> =
        faults.iter().filter(|fault| fault.starts_with(|first: char| first.is_ascii_uppercase())).collect();
    assert!(faults.len() > 30, "{faults:?}");
    for fault in faults {
        compile(&["-fsyntax-only", &format!("-DFAULT={fault}"), source.to_str().unwrap()]);
    }
}
