/** The parts that read the messages of an open session; loaded with pg, since no program without a session needs them. */

import { guardedTypes } from './bytea.ts'
import { methodsOf, readRows } from './collected-rows.ts'
import { MessageRules } from './message-rules.ts'
import { MessageStream } from './message-stream.ts'

export const reading = { guardedTypes, MessageRules, MessageStream, methodsOf, readRows }
