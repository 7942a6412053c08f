//! What is left of a request's body when it is answered early. Over HTTP/2 a reset follows an answer that does not wait for the
//! body's end (RFC 9113, section 8.1), and some clients take that for a failure and drop the answer, as curl 7.88 does: so the
//! rest is read first.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// So much is read for nothing, in bytes: more than any request may have.
const MOST: usize = 4 << 20;
/// So long.
const LONGEST: Duration = Duration::from_secs(5);

/// A body for a handler, which gives back what the handler does not read.
pub(super) struct Lent {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

/// What a handler may have left.
pub(super) struct Unread(oneshot::Receiver<Incoming>);

pub(super) fn lend(body: Incoming) -> (Lent, Unread) {
    let (back, left) = oneshot::channel();
    let lent = Lent {
        body: Some(body),
        back: Some(back),
    };
    (lent, Unread(left))
}

impl Unread {
    /// Reads it, within bounds. Nothing is to be read while the handler's answer still reads it.
    pub(super) async fn read(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let all = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await
                && read < MOST
            {
                read += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        let _ = timeout(LONGEST, all).await;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            let _ = back.send(body);
        }
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}
