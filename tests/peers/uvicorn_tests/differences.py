"""Why a test of uvicorn's does not pass with our classes, or is not run, and what of ours is about the same."""

from __future__ import annotations

_LOGGED = "the line names the version that is spoken, HTTP/2; the server of ours logs to `mintws.server`: `{}`"
_UNSENT = "500 in place of the end of the connection: the head goes out with the first part of the body, so nothing was sent: `{}`"
_WHOLE = "the response is whole, so that it is logged and the connection goes on: `{}`"
_GOES_ON = "500 too, but the connection goes on: `{}`"
_ATTRIBUTE = "it reads or sets `{}`, which is of uvicorn's classes"
_CLOSE = "`Connection: close` is of HTTP/1.1; over HTTP/2 it is left out: `test_headers_of_the_connection_are_left_out`"
_UPGRADE = "Upgrade is of HTTP/1.1, and the server of ours always takes WebSockets"
_HUGE = "the limit is that of a class of uvicorn's. Over HTTP/2 it is 64 KiB, and `max_header_size` is that of the server of ours"
_NO_TRACE = "nothing is logged at the level TRACE"
_REASON = "the event has a `reason` too, which is empty, as version 2.5 of the specification has it: `{}`"
_CLOSES = "the client gets a Close, in place of the mere end of the connection: `test_what_is_open_is_closed`"
_TASK = "not run: it waits for the task of the application before the client answers the Close; ours ends with the WebSocket"
_BEHIND_GOAWAY = (
    "not run over HTTP/2: a request of the one connection may come behind the GOAWAY: "
    "`test_a_server_ends_after_as_many_requests_as_it_may_answer`"
)
_HEAD_WAITS = (
    "the head of a refusal waits for its body, so that the client gets a 500: `test_what_is_not_accepted_is_refused`"
)

_FAILS = "test_what_fails_before_anything_is_sent_is_a_500"
_AFTER = "test_what_fails_after_the_response_is_logged"

WHY: dict[str, dict[str, str]] = {
    "protocols/test_http.py": {
        "test_request_logging": _LOGGED.format("test_responses_are_logged_as_uvicorns_own_class_logs_them"),
        "test_invalid_header_name": _UNSENT.format(_FAILS),
        "test_keepalive_timeout_with_pipelined_requests": _ATTRIBUTE.format("timeout_keep_alive_task")
        + ": `test_an_idle_connection_is_closed_after_the_keep_alive_timeout`",
        "test_keepalive_timeout_with_pipelined_websocket_upgrade": _ATTRIBUTE.format("timeout_keep_alive_task"),
        "test_close": _CLOSE,
        "test_chunked_encoding": "chunks are of HTTP/1.1: `test_a_response_is_streamed`",
        "test_chunked_encoding_empty_body": "chunks are of HTTP/1.1: `test_a_response_is_streamed`",
        "test_undersized_request": _UNSENT.format(_FAILS),
        "test_oversized_request": _UNSENT.format(_FAILS),
        "test_large_post_request": "the stream gets no credit, and the transport is read on: "
        "`test_a_client_gets_credit_when_the_application_receives`",
        "test_invalid_http": "no line of a request: a client of HTTP/2 cannot send it: "
        "`test_a_connection_fault_is_logged_in_uvicorns_words`",
        "test_app_exception": _GOES_ON.format(_FAILS),
        "test_no_response_returned": _GOES_ON.format(_FAILS),
        "test_missing_start_message": _GOES_ON.format(_FAILS),
        "test_partial_response_returned": _UNSENT.format(_FAILS),
        "test_response_header_splitting": _UNSENT.format(_FAILS),
        "test_duplicate_start_message": _UNSENT.format(_FAILS),
        "test_message_after_body_complete": _WHOLE.format(_AFTER),
        "test_value_returned": _WHOLE.format("test_a_value_that_is_returned_is_logged"),
        "test_http10_request": "HTTP/1.0: `test_the_scope_has_the_version_of_http`",
        "test_max_concurrency": "503 without `connection: close`: `test_more_requests_than_the_limit_get_503`. "
        "The server of ours has `max_connections`",
        "test_100_continue_sent_when_body_consumed": "no 100 is sent where the body has come: "
        "`test_a_client_is_told_to_go_on_when_the_application_receives`",
        "test_supported_upgrade_request": _UPGRADE,
        "test_unsupported_ws_upgrade_request": _UPGRADE,
        "test_unsupported_ws_upgrade_request_warn_on_auto": _ATTRIBUTE.format("ws_protocol_class"),
        "test_header_upgrade_is_not_websocket_depend_installed": _UPGRADE,
        "test_header_upgrade_is_websocket_depend_not_installed": _UPGRADE,
        "test_scopes": _ATTRIBUTE.format("scope") + ": `test_the_scope_has_what_the_request_says`",
        "test_invalid_http_request": "a client of HTTP/2 cannot send it; the server of ours answers 400 in other words",
        "test_huge_headers_h11protocol_failure": _HUGE,
        "test_huge_headers_httptools_will_pass": _HUGE,
        "test_huge_headers_h11protocol_failure_with_setting": _HUGE,
        "test_huge_headers_httptools": _HUGE,
        "test_huge_headers_h11_max_incomplete": _HUGE,
        "test_return_close_header": _CLOSE,
        "test_connection_close_tokens": _CLOSE,
        "test_httptools_http10_keep_alive_disabled": _CLOSE,
        "test_close_connection_with_multiple_requests": _CLOSE,
    },
    "protocols/test_http2.py": {
        "test_invalid_response_trailers": "errors have other words; trailers that the client does not take are not looked at: "
        "`test_events_that_are_not_allowed_raise`",
        "test_request_scope": "the scope has the extension `tls` too: `test_the_scheme_and_the_tls_extension_are_those_of_the_transport`",
        "test_early_hints": "the response has a Content-Length too: `test_early_hints_come_before_the_response`",
        "test_partial_response_resets_stream": _UNSENT.format(_FAILS),
        "test_response_shorter_than_content_length_resets_stream": _UNSENT.format(_FAILS),
        "test_response_longer_than_content_length_resets_stream": _UNSENT.format(_FAILS),
        "test_limit_concurrency_returns_503": "the server of ours has `max_connections`",
        "test_connection_specific_response_headers_are_stripped": "TE is left out too, which is a header of requests "
        "(RFC 9110 §10.1.4): `test_headers_of_the_connection_are_left_out`",
        "test_idle_frames_rearm_keep_alive_timer": _ATTRIBUTE.format("timeout_keep_alive_task"),
        "test_shutdown_refuses_new_streams_and_closes_after_last_response": "a request behind the GOAWAY gets nothing, which says "
        "that it may be sent again (RFC 9113 §6.8), in place of 503: `test_a_server_that_stops_lets_responses_come_to_their_end`",
        "test_invalid_frames_close_the_connection": "the server of ours logs to `mintws.server`",
        "test_resume_reading_waits_for_other_buffered_streams": _ATTRIBUTE.format("cycles"),
        "test_app_returning_value_resets_stream": _WHOLE.format("test_a_value_that_is_returned_is_logged"),
        "test_unexpected_message_after_start_resets_stream": _UNSENT.format(_FAILS),
        "test_unexpected_message_after_completion_resets_stream": _WHOLE.format(_AFTER),
        "test_eof_received_is_a_no_op": "a half of a connection that has ended is known: "
        "`test_an_application_is_told_that_its_client_has_gone`",
        "test_trace_logging": _NO_TRACE,
        "test_config_http_zttp_loads_http1_protocol": "it is about the names of uvicorn's classes",
        "test_config_http2_loads_negotiator": "it is about the names of uvicorn's classes",
    },
    "protocols/test_websocket.py": {
        "test_duplicate_handshake": _CLOSES,
        "test_asgi_return_value": _CLOSES,
        "test_close_transport_on_asgi_return": _CLOSES,
        "test_connection_lost_before_handshake_complete": "the application is told 1012, since it is the server that stops: "
        "`test_a_server_that_stops_closes_with_1012_and_refuses_with_503`",
        "test_send_close_on_server_shutdown": _REASON.format(
            "test_a_server_that_stops_closes_with_1012_and_refuses_with_503"
        ),
        "test_server_reject_connection": _REASON.format("test_what_is_not_accepted_is_refused"),
        "test_server_reject_connection_with_response": _REASON.format("test_what_is_not_accepted_is_refused"),
        "test_server_reject_connection_with_multibody_response": _REASON.format("test_a_refusal_is_streamed"),
        "test_server_reject_connection_with_invalid_status": "500 has no body: `test_what_is_not_accepted_is_refused`",
        "test_server_reject_connection_with_invalid_msg": _HEAD_WAITS,
        "test_server_reject_connection_with_missing_body": _HEAD_WAITS,
        "test_server_multiple_websocket_http_response_start_events": _HEAD_WAITS,
        "test_multiple_server_header": "a Server of the application takes the place of uvicorn's",
        "test_server_keepalive_ping_pong": _ATTRIBUTE.format("ping_sent_at")
        + ": `test_a_client_that_is_silent_is_left`",
        "test_server_keepalive_disabled": _ATTRIBUTE.format("ping_timer"),
        "test_send_respects_write_backpressure": "`send` waits behind what it has written, not before: "
        "`test_a_client_that_takes_nothing_holds_the_application_back`",
        "test_connection_lost_unblocks_paused_send": "`send` returns where it has written the message; the next one raises: "
        "`test_the_application_is_told_how_it_ended`",
        "test_close_resumes_reads_paused_on_an_unconsumed_message": _TASK,
        "test_close_waits_for_the_peer_close_frame": _TASK,
        "test_data_frame_while_closing_does_not_pause_reads": _TASK,
        "test_data_frame_and_peer_close_frame_in_one_read": _TASK,
        "test_ping_while_closing": _TASK,
        "test_close_gives_up_when_the_peer_never_replies": _TASK,
        "test_connection_lost_cancels_the_pending_close_timer": _TASK,
        "test_shutdown_while_the_close_reply_is_pending": _TASK,
    },
    "test_server.py": {
        "test_request_than_limit_max_requests_warn_log": _BEHIND_GOAWAY,
        "test_limit_max_requests_jitter": _BEHIND_GOAWAY,
    },
    "middleware/test_logging.py": {
        "test_trace_logging_on_http_protocol": _NO_TRACE,
        "test_trace_logging_on_ws_protocol": _NO_TRACE,
        "test_access_logging": _LOGGED.format("test_responses_are_logged_as_uvicorns_own_class_logs_them"),
        "test_default_logging": _LOGGED.format("test_responses_are_logged_as_uvicorns_own_class_logs_them"),
        "test_unknown_status_code": _LOGGED.format("test_responses_are_logged_as_uvicorns_own_class_logs_them"),
    },
}
