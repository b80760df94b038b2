//! A stream of answers that ends by itself: a JSON object a line, or CSV (RFC 4180).

use super::answer;
use super::call::{self, Door};
use super::frames::Frames;
use super::problem::Problem;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::Method;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value;
use std::io;

/// How the lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
}

/// A method that answers with lines.
pub async fn lines(door: Door, method: &'static Method, request: Request<Body>) -> Response {
    match open(&door, method, request).await {
        Ok((form, frames)) => {
            let content_type = match form {
                Form::Json => "application/x-ndjson",
                Form::Csv => "text/csv; charset=utf-8; header=present",
            };
            let output = method.descriptor.output();
            let first = (form == Form::Csv).then(|| csv_line(&columns(&output)));
            let body = stream::unfold((first, Some(frames)), move |state| next(form, method, state));
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
            (headers, Body::from_stream(body)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn open(door: &Door, method: &Method, request: Request<Body>) -> Result<(Form, Frames), Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = door.admit(method, &parts).await.map_err(|s| Problem::of(&s))?;
    let form = form(&parts.headers)?;
    let message = call::message(method, call::uri_fields(&mut parts).await?)?;
    let frames = door.send(method, &parts, caller, Body::from(message)).await;
    Ok((form, frames.map_err(|s| Problem::of(&s))?))
}

/// The first form that `Accept` names and we write; JSON when it leaves the choice to us.
fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let Some(value) = headers.get(header::ACCEPT) else { return Ok(Form::Json) };
    let wanted = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let known = wanted.split(',').find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
        "text/csv" => Some(Form::Csv),
        "application/x-ndjson" | "application/jsonl" | "application/json" | "application/*" | "*/*" => {
            Some(Form::Json)
        }
        _ => None,
    });
    known.ok_or_else(|| {
        let detail = "the answer is application/x-ndjson or text/csv; send one of them in Accept";
        Problem::http(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", detail)
    })
}

type Left = (Option<String>, Option<Frames>);

/// The next line. What breaks inside breaks the answer off, so that nobody takes a part for the whole.
async fn next(form: Form, method: &Method, state: Left) -> Option<(Result<Bytes, io::Error>, Left)> {
    let (first, frames) = state;
    if let Some(titles) = first {
        return Some((Ok(Bytes::from(titles)), (None, frames)));
    }
    let mut frames = frames?;
    let output = method.descriptor.output();
    let line = match frames.next().await {
        Ok(None) => return None,
        Ok(Some(bytes)) => answer::json(&output, &bytes).map(|json| match form {
            Form::Json => format!("{}\n", inner(&output, &json)),
            Form::Csv => {
                let row = inner(&output, &json);
                csv_line(&columns(&output).iter().map(|column| cell(&row[column])).collect::<Vec<_>>())
            }
        }),
        Err(status) => Err(status),
    };
    Some(match line {
        Ok(line) => (Ok(Bytes::from(line)), (None, Some(frames))),
        Err(status) => (Err(io::Error::other(status.message().to_owned())), (None, None)),
    })
}

/// The one message that an answer holds: it is the line.
fn only(output: &MessageDescriptor) -> Option<(String, MessageDescriptor)> {
    let mut fields = output.fields();
    match (fields.next(), fields.next()) {
        (Some(field), None) => match field.kind() {
            Kind::Message(inner) if !field.is_list() => Some((field.name().to_owned(), inner)),
            _ => None,
        },
        _ => None,
    }
}

fn inner(output: &MessageDescriptor, json: &Value) -> Value {
    only(output).map_or_else(|| json.clone(), |(name, _)| json[&name].clone())
}

fn columns(output: &MessageDescriptor) -> Vec<String> {
    let line = only(output).map_or_else(|| output.clone(), |(_, inner)| inner);
    line.fields().map(|field| field.name().to_owned()).collect()
}

/// A value as text; what is more than one value is JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Cells that a spreadsheet would take for a formula get an apostrophe: what strangers send is in them.
fn csv_line(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let cell = if formula { format!("'{cell}") } else { cell.clone() };
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &'static str) -> Result<Form, u16> {
        form(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))])).map_err(|p| p.status)
    }

    #[test]
    fn the_reader_chooses_the_form() {
        assert_eq!(form(&HeaderMap::new()).ok(), Some(Form::Json));
        assert_eq!(accept("*/*"), Ok(Form::Json));
        assert_eq!(accept("text/html, text/csv;q=0.9, */*;q=0.1"), Ok(Form::Csv));
        assert_eq!(accept("text/html"), Err(406));
    }

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        let cells = ["a,b", "say \"x\"", "=1+1", "plain", ""].map(str::to_owned);
        assert_eq!(csv_line(&cells), "\"a,b\",\"say \"\"x\"\"\",'=1+1,plain,\r\n");
    }

    #[test]
    fn the_columns_are_the_fields_of_the_record() {
        let output = contracts::pool().get_message_by_name("berth.gateway.v1.ExportAuditResponse");
        let names = columns(&output.expect("known"));
        assert_eq!(names.first().map(String::as_str), Some("id"));
        assert!(names.contains(&"refusal".to_owned()), "{names:?}");
    }
}
