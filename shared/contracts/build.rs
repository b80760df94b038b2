//! Compiles proto/ and derives, from the options in it, what each message on the bus is.

#[path = "build/declared.rs"]
mod declared;
#[path = "build/generate.rs"]
mod generate;

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(proto_files(&root)?)?;
    let pool = compiler.descriptor_pool();
    let declared = declared::declared(&pool).map_err(|wrong| wrong.join("\n"))?;
    // the encoded pool keeps the options that prost's own descriptor types would drop
    std::fs::write(out.join("descriptors.bin"), pool.encode_to_vec())?;
    std::fs::write(out.join("messages.rs"), generate::code(&declared))?;

    tonic_prost_build::configure()
        .btree_map(".")
        .include_file("modules.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn proto_files(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "proto") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
