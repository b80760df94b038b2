//! Compiles proto/ and derives, from the options in it, what each message on the bus is.

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(proto_files(&root)?)?;
    let pool = compiler.descriptor_pool();
    // the encoded pool keeps the options that prost's own descriptor types would drop
    std::fs::write(out.join("descriptors.bin"), pool.encode_to_vec())?;
    std::fs::write(out.join("messages.rs"), message_impls(&pool)?)?;

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

/// One `impl kernel::Message` for each message that carries the `bus` option, and a list of all of them.
fn message_impls(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let extension =
        pool.get_extension_by_name("berth.options.v1.bus").ok_or("no option berth.options.v1.bus")?;
    let mut code = String::new();
    let mut catalogue = String::from("/// Every message of the bus.\npub const CATALOGUE: &[Entry] = &[\n");
    for message in pool.all_messages() {
        let options = message.options();
        if !options.has_extension(&extension) {
            continue;
        }
        let Value::Message(bus) = options.get_extension(&extension).into_owned() else { continue };
        let kind = kind_of(&bus, &message)?;
        let key =
            bus.get_field_by_name("key").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        check_key(&message, &key)?;
        let (service, version) = service_of(&message)?;
        let (name, path) = (message.name(), rust_path(service, version, message.name()));
        let getter = key_getter(&key);
        writeln!(
            code,
            "impl kernel::Message for {path} {{
    const KIND: kernel::Kind = kernel::Kind::{kind};
    const SERVICE: &'static str = {service:?};
    const NAME: &'static str = {name:?};
    const VERSION: &'static str = {version:?};
    fn key(&self) -> &str {{ {getter} }}
    fn to_bytes(&self) -> Vec<u8> {{ prost::Message::encode_to_vec(self) }}
    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {{ prost::Message::decode(bytes).map_err(|e| e.to_string()) }}
}}"
        )?;
        writeln!(
            catalogue,
            "    Entry {{ kind: kernel::Kind::{kind}, service: {service:?}, version: {version:?}, name: {name:?}, full_name: {:?} }},",
            message.full_name()
        )?;
    }
    Ok(format!("{code}\n{catalogue}];\n"))
}

fn kind_of(bus: &DynamicMessage, message: &MessageDescriptor) -> Result<&'static str, Box<dyn Error>> {
    match bus.get_field_by_name("kind").and_then(|v| v.as_enum_number()) {
        Some(1) => Ok("Command"),
        Some(2) => Ok("Event"),
        Some(3) => Ok("Sample"),
        _ => Err(format!("{}: the bus option needs a kind", message.full_name()).into()),
    }
}

fn service_of(message: &MessageDescriptor) -> Result<(&str, &str), Box<dyn Error>> {
    match message.package_name().split('.').collect::<Vec<_>>().as_slice() {
        ["berth", service, version] => Ok((service, version)),
        _ => Err(format!("{}: a package is berth.<service>.<version>", message.full_name()).into()),
    }
}

fn check_key(message: &MessageDescriptor, key: &str) -> Result<(), Box<dyn Error>> {
    let mut at = message.clone();
    let parts: Vec<&str> = key.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        let field = at
            .get_field_by_name(part)
            .ok_or_else(|| format!("{}: no key field {key:?}", message.full_name()))?;
        match (field.kind(), index + 1 == parts.len()) {
            (prost_reflect::Kind::String, true) => {}
            (prost_reflect::Kind::Message(inner), false) => at = inner,
            _ => return Err(format!("{}: key {key:?} must lead to a string", message.full_name()).into()),
        }
    }
    Ok(())
}

fn key_getter(key: &str) -> String {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.as_slice() {
        [field] => format!("&self.{field}"),
        [outer, inner] => format!("self.{outer}.as_ref().map_or(\"\", |o| o.{inner}.as_str())"),
        [outer, middle, inner] => format!(
            "self.{outer}.as_ref().and_then(|o| o.{middle}.as_ref()).map_or(\"\", |m| m.{inner}.as_str())"
        ),
        _ => format!("compile_error!(\"key {key} is deeper than three fields\")"),
    }
}

fn rust_path(service: &str, version: &str, name: &str) -> String {
    format!("crate::{service}::{version}::{name}")
}
