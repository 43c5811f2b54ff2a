//! The ids of tool calls.

use std::collections::HashSet;

use llmspell_core::chat::{ChatRequest, Content, Part, Reply};

/// Gives each call of an answer an id of its own within the conversation, since a result refers to its call by id. Some
/// providers send no ids, and some repeat them.
pub(crate) fn make_unique(reply: &mut Reply, asked: &ChatRequest) {
    if reply.tool_calls.is_empty() {
        return;
    }
    let parts = asked.messages.iter().filter_map(|message| match &message.content {
        Content::Parts(parts) => Some(parts),
        Content::Text(_) => None,
    });
    let mut taken: HashSet<String> = parts
        .flatten()
        .filter_map(|part| match part {
            Part::ToolCall(call) => Some(call.id.clone()),
            _ => None,
        })
        .collect();
    for (at, call) in reply.tool_calls.iter_mut().enumerate() {
        let given = if call.id.is_empty() { format!("call_{at}") } else { call.id.clone() };
        call.id.clone_from(&given);
        for number in 2_u64.. {
            if taken.insert(call.id.clone()) {
                break;
            }
            call.id = format!("{given}_{number}");
        }
    }
}

#[cfg(test)]
mod tests {
    use llmspell_core::chat::{Message, Role, ToolCall};

    use super::*;

    #[test]
    fn no_two_calls_of_a_conversation_share_an_id() {
        let call = |id: &&str| ToolCall {
            id: (*id).into(),
            name: "t".into(),
            arguments: serde_json::json!({}),
            signature: None,
            provider: None,
        };
        let earlier = ["a", "call_0"].iter().map(call).map(Part::ToolCall).collect();
        let asked = ChatRequest {
            messages: vec![Message { role: Role::Assistant, content: Content::Parts(earlier) }],
            ..ChatRequest::default()
        };
        let calls = ["", "", "a", "a", "a_2", "b"].iter().map(call).collect();
        let mut reply = Reply { tool_calls: calls, ..Reply::default() };
        make_unique(&mut reply, &asked);
        let ids: Vec<&str> = reply.tool_calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["call_0_2", "call_1", "a_2", "a_3", "a_2_2", "b"]);
    }
}
