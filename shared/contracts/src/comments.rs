//! The comments of the .proto files, by the path of what they stand above.

use prost_reflect::FileDescriptor;
use std::collections::HashMap;
use std::sync::LazyLock;

type Comments = HashMap<(String, Vec<i32>), String>;

/// The comment above an element; "" = there is none.
pub fn of(file: &FileDescriptor, path: &[i32]) -> String {
    static COMMENTS: LazyLock<Comments> = LazyLock::new(read);
    COMMENTS.get(&(file.name().to_owned(), path.to_vec())).cloned().unwrap_or_default()
}

fn read() -> Comments {
    let mut comments = HashMap::new();
    for file in crate::pool().files() {
        let Some(info) = &file.file_descriptor_proto().source_code_info else { continue };
        for location in &info.location {
            let text: Vec<&str> = location.leading_comments().lines().map(str::trim).collect();
            let text = text.join(" ").trim().to_owned();
            if !text.is_empty() {
                comments.insert((file.name().to_owned(), location.path.clone()), text);
            }
        }
    }
    comments
}
