//! A file as the body of a PUT, passed on chunk by chunk while it arrives.

use super::answer;
use super::call::{self, Door};
use super::frames::frame;
use super::problem::Problem;
use crate::domain::violation::Violation;
use crate::translate::status;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::Method;
use contracts::gateway::v1::UploadFileRequest;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Request, header};
use prost::Message as _;
use tonic::Status;

/// Longest chunk of one message.
const CHUNK: usize = 1 << 20;

/// A method that takes a stream of chunks.
pub async fn upload(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    match run(&door, method, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn run(door: &Door, method: &Method, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = door.admit(method, &parts).await.map_err(|s| Problem::of(&s))?;
    let query = call::uri_fields(&mut parts).await?.query;
    let size_bytes = announced(&parts.headers, &query).map_err(|v| Problem::of(&status::invalid(v)))?;
    let first = UploadFileRequest { size_bytes, chunk: Vec::new() };
    let first = stream::once(async move { Ok::<_, axum::Error>(frame(&first.encode_to_vec())) });
    let chunks = body.into_data_stream().map_ok(|data| stream::iter(pieces(data)).map(Ok)).try_flatten();
    let frames = door
        .send(method, &parts, caller, Body::from_stream(first.chain(chunks)))
        .await
        .map_err(|s| Problem::of(&s));
    let mut frames = frames?;
    let bytes = frames.next().await.map_err(|s| Problem::of(&s))?;
    let bytes = bytes.ok_or_else(|| Problem::of(&Status::internal("no answer came")))?;
    let json = answer::json(&method.descriptor.output(), &bytes).map_err(|s| Problem::of(&s))?;
    Ok(axum::Json(json).into_response())
}

/// Bytes that will come: `Content-Length`, or `size_bytes` in the query when the length is not known to HTTP.
fn announced(headers: &HeaderMap, query: &[(String, String)]) -> Result<u64, Violation> {
    let wrong = |name: &str| Violation::new(name, "write the number of bytes that will come");
    let mut size = None;
    if let Some(value) = headers.get(header::CONTENT_LENGTH) {
        size = Some(value.to_str().ok().and_then(|t| t.parse().ok()).ok_or_else(|| wrong("Content-Length"))?);
    }
    for (name, text) in query {
        if !["size_bytes", "sizeBytes"].contains(&name.as_str()) {
            return Err(Violation::new(name.as_str(), "no such field; known: size_bytes"));
        }
        let said: u64 = text.parse().map_err(|_| wrong("size_bytes"))?;
        if size.is_some_and(|size| size != said) {
            return Err(Violation::new(
                "size_bytes",
                "this is not what Content-Length or an earlier size_bytes says",
            ));
        }
        size = Some(said);
    }
    Ok(size.unwrap_or(0))
}

fn pieces(data: Bytes) -> Vec<Bytes> {
    data.chunks(CHUNK)
        .map(|chunk| frame(&UploadFileRequest { size_bytes: 0, chunk: chunk.to_vec() }.encode_to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_size_is_said_once() {
        let mut headers = HeaderMap::new();
        let query = |text: &str| vec![("size_bytes".to_owned(), text.to_owned())];
        assert_eq!(announced(&headers, &[]), Ok(0));
        assert_eq!(announced(&headers, &query("7")), Ok(7));
        assert!(announced(&headers, &query("x")).is_err());
        assert!(announced(&headers, &[("chunk".to_owned(), String::new())]).is_err());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        assert_eq!(announced(&headers, &query("7")), Ok(7));
        assert_eq!(announced(&headers, &query("8")).expect_err("differs").field, "size_bytes");
    }

    #[test]
    fn big_chunks_are_cut() {
        let framed = pieces(Bytes::from(vec![7; CHUNK + 1]));
        assert_eq!(framed.len(), 2);
        assert!(pieces(Bytes::new()).is_empty());
    }
}
