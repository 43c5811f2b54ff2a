//! Reasoning that a model writes between tags in its text.

use llmspell_core::ErrorKind;

use crate::support::{PROTOCOLS, answered, complete, said};

#[tokio::test]
async fn reasoning_between_tags_is_separated_in_every_protocol() {
    let pieces = ["<thi", "nk>\nMaybe {\"n\": 0}?", "\n</th", "ink", ">\n\n", "{\"n\":", " 1}"];
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            let answer = answered(protocol, &said(protocol, &pieces, complete(protocol)), streamed).await;
            let reply = answer.end.unwrap();
            let case = format!("{protocol:?} streamed={streamed}");
            assert_eq!((reply.text.as_str(), answer.text.as_str()), ("{\"n\": 1}", "{\"n\": 1}"), "{case}");
            assert_eq!(reply.reasoning.as_deref(), Some("Maybe {\"n\": 0}?"), "{case}");
            assert_eq!(reply.to_message().joined_text(), "{\"n\": 1}", "{case}");
        }
    }
}

#[tokio::test]
async fn a_closing_tag_alone_ends_the_reasoning() {
    let pieces = ["Maybe.", "\n</think>", "\n\nHello."];
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            let answer = answered(protocol, &said(protocol, &pieces, complete(protocol)), streamed).await;
            let reply = answer.end.unwrap();
            let case = format!("{protocol:?} streamed={streamed}");
            assert_eq!(
                (reply.text.as_str(), reply.reasoning.as_deref()),
                ("Hello.", Some("Maybe.")),
                "{case}"
            );
            assert!(!answer.text.contains("think>"), "{case}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn tags_inside_the_answer_stay() {
    let pieces = ["{\"html\": \"<th", "ink>x</think>\"}"];
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            let answer = answered(protocol, &said(protocol, &pieces, complete(protocol)), streamed).await;
            let reply = answer.end.unwrap();
            assert_eq!(
                (reply.text, reply.reasoning),
                (pieces.concat(), None),
                "{protocol:?} streamed={streamed}"
            );
        }
    }
}

#[tokio::test]
async fn reasoning_without_an_answer_is_an_error() {
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            let sample = said(protocol, &["<think>hm", "</think>\n"], complete(protocol));
            let error = answered(protocol, &sample, streamed).await.end.unwrap_err();
            let case = format!("{protocol:?} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::EmptyResponse, true), "{case}");
            assert!(error.message().contains("the model reasoned and gave no answer"), "{case}");
        }
    }
}
