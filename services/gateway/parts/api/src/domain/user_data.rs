//! What a guest's cloud-init would make of user data. They are handed on as they are, whatever they are: there are other
//! tools that read them. But who hands in what nothing in a usual image would understand should hear of it now.
//!
//! Source: cloud-init 23.4, `handlers/__init__.py` (`INCLUSION_TYPES_MAP`, `type_from_starts_with`) and
//! `user_data.py` (`convert_string`).

/// How text begins that cloud-init knows, in lower case.
const BEGINNINGS: [&str; 7] = [
    // also its archive and JSON forms, which begin alike
    "#cloud-config",
    "#!",
    "#include",
    "#cloud-boothook",
    "#part-handler",
    "#upstart-job",
    "## template: jinja",
];
/// How far cloud-init looks for the header of MIME.
const MIME_WITHIN: usize = 4096;

/// What somebody who hands in these user data should know, if anything.
pub fn hint(bytes: &[u8]) -> Option<String> {
    match bytes {
        [] | [0x1f, 0x8b, ..] => return None,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return said("line 1: this is UTF-16, and cloud-init reads UTF-8: save it as UTF-8");
        }
        [0xef, 0xbb, 0xbf, ..] => {
            return said(
                "line 1: it begins with a byte order mark, behind which cloud-init does not see what it is: save it as \
                 UTF-8 without one",
            );
        }
        _ => {}
    }
    let head = String::from_utf8_lossy(bytes.get(..MIME_WITHIN).unwrap_or(bytes)).to_lowercase();
    if head.contains("mime-version:") {
        return None;
    }
    let blank_lines = head.chars().take_while(|c| c.is_whitespace()).filter(|c| *c == '\n').count();
    let number = blank_lines + 1;
    let text = head.trim_start();
    let first = text.split('\n').next().unwrap_or_default();
    if first.starts_with("#!") && first.ends_with('\r') {
        return said(&format!(
            "line {number}: it ends with CR LF, and the guest would look for an interpreter whose name ends with CR: save it \
             with LF"
        ));
    }
    if BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) {
        return None;
    }
    if text.is_empty() {
        return said("there is nothing in it but blanks");
    }
    if text.starts_with('{') && text.contains("\"ignition\"") {
        return said(
            "this looks like Ignition, which cloud-init does not read: only an image with Ignition in it would",
        );
    }
    said(&format!(
        "line {number}: cloud-init does not see what it is: it takes what begins with #cloud-config, #! and a program, #include, \
         #cloud-boothook, #part-handler or ## template: jinja, and MIME and gzip"
    ))
}

fn said(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cloud_init_understands_needs_no_hint() {
        for known in [
            &b""[..],
            b"#cloud-config\npackages: [nginx]\n",
            b"#cloud-config\r\npackages: [nginx]\r\n",
            b"\n\n#Cloud-Config\n{}\n",
            b"#cloud-config-archive\n- text\n",
            b"#!/bin/sh\necho hello\n",
            b"#include\nhttps://example.com/one\n",
            b"## template: jinja\n#cloud-config\n{}\n",
            b"#cloud-boothook\n",
            b"\x1f\x8b\x08\x00\xff",
            b"Content-Type: multipart/mixed; boundary=\"==\"\nMIME-Version: 1.0\n\n--==\n",
        ] {
            assert_eq!(hint(known), None, "{:?}", String::from_utf8_lossy(known));
        }
    }

    #[test]
    fn what_nothing_would_understand_is_named_with_its_line() {
        for (given, names) in [
            (&b"packages: [nginx]\n"[..], "line 1: cloud-init does not see"),
            (b"\n\npackages: [nginx]\n", "line 3: cloud-init does not see"),
            (b"\xef\xbb\xbf#cloud-config\n{}\n", "byte order mark"),
            (b"\xff\xfe#\x00c\x00", "UTF-16"),
            (b"#!/bin/sh\r\necho hello\r\n", "line 1: it ends with CR LF"),
            (b" \n ", "nothing in it but blanks"),
            (b"{\"ignition\": {\"version\": \"3.4.0\"}}", "Ignition"),
            (b"\x00\x01\x02\xff", "line 1"),
        ] {
            let told = hint(given).expect(names);
            assert!(told.contains(names), "{told}");
        }
    }
}
