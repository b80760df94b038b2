//! What methods do with objects of declared kinds, and the REST path and the permission that follow from it.

use crate::catalogue::{KINDS, OPS};
use crate::command::{Does, Op};
use prost_reflect::MethodDescriptor;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a method does, if it is declared by `berth.options.v1.op`.
pub fn op(method: &MethodDescriptor) -> Option<Op> {
    static PLACES: LazyLock<HashMap<&str, Op>> = LazyLock::new(|| {
        OPS.iter().map(|(name, does, kind)| (*name, Op { does: *does, kind: &KINDS[*kind] })).collect()
    });
    PLACES.get(method.full_name()).copied()
}

/// How a method is reached and who may call it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Face {
    pub http_method: &'static str,
    pub path: String,
    pub permission: String,
}

impl Op {
    /// Whether it changes something.
    pub fn is_mutating(&self) -> bool {
        matches!(self.does, Does::Tell(_))
    }

    /// Whether it makes the object that it names.
    pub fn creates(&self) -> bool {
        self.does == Does::Tell("Create")
    }

    pub(crate) fn face(&self) -> Face {
        let all = format!("/v1/{}", self.kind.plural.replace('_', "-"));
        let one = format!("{all}/{{name}}");
        let (http_method, path, may) = match self.does {
            Does::List => ("GET", all, "read"),
            Does::Get => ("GET", one, "read"),
            Does::Tell("Create") => ("POST", all, "create"),
            Does::Tell("Update") => ("PUT", one, "change"),
            Does::Tell("Delete") => ("DELETE", one, "delete"),
            Does::Tell(verb) => ("POST", format!("{one}/{}", dashed(verb)), "operate"),
        };
        Face { http_method, path, permission: format!("{}.{may}", self.kind.name) }
    }
}

/// "AttachTo" as it stands in paths and on command lines: "attach-to".
pub fn dashed(words: &str) -> String {
    let mut text = String::with_capacity(words.len() + 4);
    for (at, c) in words.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_permissions_follow_from_what_is_done() {
        let kind = KINDS.iter().find(|kind| kind.name == "ssh_key").expect("declared");
        let face = |does| {
            let Face { http_method, path, permission } = Op { does, kind }.face();
            format!("{http_method} {path} {permission}")
        };
        assert_eq!(face(Does::List), "GET /v1/ssh-keys ssh_key.read");
        assert_eq!(face(Does::Get), "GET /v1/ssh-keys/{name} ssh_key.read");
        assert_eq!(face(Does::Tell("Create")), "POST /v1/ssh-keys ssh_key.create");
        assert_eq!(face(Does::Tell("Update")), "PUT /v1/ssh-keys/{name} ssh_key.change");
        assert_eq!(face(Does::Tell("Delete")), "DELETE /v1/ssh-keys/{name} ssh_key.delete");
        assert_eq!(face(Does::Tell("AttachTo")), "POST /v1/ssh-keys/{name}/attach-to ssh_key.operate");
    }
}
