/* What an upstream answers must be JSON of a kind, judged as strictly as what clients send (base/json.h). */
#ifndef API_UPSTREAM_ANSWER_H
#define API_UPSTREAM_ANSWER_H

#include "base/json_read.h"
#include "upstream/upstream.h"

/* UPSTREAM_GOOD for valid JSON of that type, UPSTREAM_UNSURE when there was no memory to judge it. */
enum upstream_verdict upstream_answer_judge(struct text body, enum json_type type);

#endif
