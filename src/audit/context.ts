/** On whose behalf the program works: told by the program, and kept through its asynchronous calls. */

import { AsyncLocalStorage } from 'node:async_hooks'
import { printable } from '../printable.ts'
import { Part } from './line.ts'

/** The caller's own facts for the lines of the audit log. Texts are cut at 1,000 characters; of further facts, 20 are taken. */
export interface AuditContext {
  readonly requestId?: string
  /** The user of the application. */
  readonly endUser?: string
  /** Further facts, under `context` of the line. */
  readonly [name: string]: string | number | boolean | undefined
}

interface Kept {
  readonly given: AuditContext
  readonly part: Part
}

const MOST_FACTS = 20

const storage = new AsyncLocalStorage<Kept>()

/**
 * Runs a function, and puts the facts on each line of the audit log that it causes, also after an `await`. Inside another
 * call the facts are added to those outside.
 *
 * @example
 * app.use((request, _, next) => withAuditContext({ requestId: request.id, endUser: request.user.name }, next))
 */
export function withAuditContext<T>(context: AuditContext, work: () => T): T {
  const given = { ...storage.getStore()?.given, ...context }
  return storage.run({ given, part: partOf(given) }, work)
}

const NONE = new Part({})

/** The facts that hold now. */
export function currentContext(): Part {
  return storage.getStore()?.part ?? NONE
}

function partOf({ requestId, endUser, ...more }: AuditContext): Part {
  const others = Object.entries(more)
    .filter(([, value]) => value !== undefined)
    .slice(0, MOST_FACTS)
  return new Part({
    request_id: plain(requestId),
    end_user: plain(endUser),
    context: others.length === 0 ? undefined : Object.fromEntries(others.map(([name, value]) => [name, plain(value)])),
  })
}

function plain(value: unknown): unknown {
  return typeof value === 'number' || typeof value === 'boolean' || value === undefined
    ? value
    : printable(String(value))
}
