//! gRPC messages inside an HTTP body: one flag byte, four length bytes, the message; the status comes last.
//! (gRPC over HTTP/2, "Length-Prefixed-Message".)

use axum::body::Body;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use tonic::Status;

/// Longest answer that is taken from our own services.
const MESSAGE_LIMIT: usize = 64 << 20;

/// One message with its prefix; never compressed.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The messages of an answer, one by one.
pub struct Frames {
    body: Body,
    buffer: BytesMut,
    trailers: Option<HeaderMap>,
}

impl Frames {
    /// Reads from the body of an answer whose headers carried no status.
    pub fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), trailers: None }
    }

    /// The next message; `None` when the answer ended well, an error when it ended badly.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(other) => self.trailers = other.into_trailers().ok(),
                },
                Some(Err(e)) => return Err(Status::unavailable(format!("the answer broke off: {e}"))),
                None => return self.end(),
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = self.buffer.get(..5) else { return Ok(None) };
        let length = prefix.iter().skip(1).fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        if prefix.first() != Some(&0) || length > MESSAGE_LIMIT {
            return Err(Status::internal("an answer that cannot be read"));
        }
        if self.buffer.len() < length + 5 {
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn end(&mut self) -> Result<Option<Bytes>, Status> {
        let status = self.trailers.take().and_then(|trailers| Status::from_header_map(&trailers));
        match status {
            Some(status) if status.code() == tonic::Code::Ok => Ok(None),
            Some(status) => Err(status),
            None => Err(Status::unavailable("the answer broke off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    fn body(parts: Vec<Frame<Bytes>>) -> Body {
        Body::new(StreamBody::new(stream::iter(parts.into_iter().map(Ok::<_, std::io::Error>))))
    }

    fn trailers(code: &'static str) -> Frame<Bytes> {
        let mut map = HeaderMap::new();
        map.insert("grpc-status", http::HeaderValue::from_static(code));
        Frame::trailers(map)
    }

    #[tokio::test]
    async fn messages_cut_anywhere_are_put_together() {
        let whole: Vec<u8> = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for cut in 0..=whole.len() {
            let (left, right) = whole.split_at(cut);
            let parts = [left, right].map(|part| Frame::data(Bytes::copy_from_slice(part)));
            let mut frames = Frames::new(body(parts.into_iter().chain([trailers("0")]).collect()));
            for expected in ["one", "", "three"] {
                assert_eq!(frames.next().await.expect("well").as_deref(), Some(expected.as_bytes()));
            }
            assert_eq!(frames.next().await.expect("well"), None);
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_status_broke_off() {
        let mut frames = Frames::new(body(vec![Frame::data(frame(b"one").slice(..6))]));
        assert_eq!(frames.next().await.expect_err("cut").code(), tonic::Code::Unavailable);
        let mut frames = Frames::new(body(vec![trailers("5")]));
        assert_eq!(frames.next().await.expect_err("status").code(), tonic::Code::NotFound);
    }
}
