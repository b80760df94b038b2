-- Operations of which no service has said anything (1 = OPERATION_STATE_PENDING).
CREATE INDEX operations_unanswered ON operations (id) WHERE state = 1;
