//! JSON-RPC 1.0 as RFC 7047 section 4 uses it.

use serde_json::Value;

/// What a server may send.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The answer to a request of ours.
    Answer {
        /// The request's number.
        id: u64,
        /// What it gave, or the server's error.
        result: Result<Value, Value>,
    },
    /// Whether we live (section 4.1.11); wants its parameters back.
    Echo {
        /// To be repeated.
        params: Value,
        /// To be repeated.
        id: Value,
    },
    /// Rows of a monitored table have changed (section 4.1.6).
    Update {
        /// Which monitor.
        monitor: String,
        /// The rows, by table.
        tables: Value,
    },
    /// Nothing this client knows; to be ignored.
    Other,
}

impl Message {
    /// Reads one object; `None` if it is no JSON.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let Value::Object(mut object) = serde_json::from_slice(bytes).ok()? else { return None };
        let mut take = |name| object.remove(name).unwrap_or(Value::Null);
        let (method, params, id) = (take("method"), take("params"), take("id"));
        Some(match method.as_str() {
            Some("echo") if !id.is_null() => Self::Echo { params, id },
            Some("update") => match params {
                Value::Array(params) => match <[Value; 2]>::try_from(params) {
                    Ok([Value::String(monitor), tables]) => Self::Update { monitor, tables },
                    _ => Self::Other,
                },
                _ => Self::Other,
            },
            Some(_) => Self::Other,
            None => match id.as_u64() {
                Some(id) => {
                    let (result, error) = (take("result"), take("error"));
                    Self::Answer { id, result: if error.is_null() { Ok(result) } else { Err(error) } }
                }
                None => Self::Other,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_told_apart() {
        let read = |text: &str| Message::read(text.as_bytes());
        assert_eq!(
            read(r#"{"id":3,"result":[{}],"error":null}"#),
            Some(Message::Answer { id: 3, result: Ok(json!([{}])) })
        );
        assert_eq!(
            read(r#"{"id":3,"result":null,"error":"unknown database"}"#),
            Some(Message::Answer { id: 3, result: Err(json!("unknown database")) })
        );
        assert_eq!(
            read(r#"{"method":"echo","params":[],"id":"echo"}"#),
            Some(Message::Echo { params: json!([]), id: json!("echo") })
        );
        assert_eq!(
            read(r#"{"method":"update","params":["cfg",{"Open_vSwitch":{}}],"id":null}"#),
            Some(Message::Update { monitor: "cfg".into(), tables: json!({"Open_vSwitch": {}}) })
        );
        for other in [r#"{"method":"locked","params":["x"],"id":null}"#, "{}", r#"{"id":"x","result":1}"#] {
            assert_eq!(read(other), Some(Message::Other), "{other}");
        }
        assert_eq!(read("{nonsense}"), None);
    }
}
