/** Where a program asked mssql for something, for leak detection. */

import type mssql from 'mssql'
import { callSite } from '../../pool/call-site.ts'

/** A request, transaction or prepared statement; its parent is a pool, or a transaction that has its connection. */
interface Asking {
  readonly parent?: object
}

type Method = (this: Asking, ...given: unknown[]) => unknown

/** The methods that ask for a connection, after a turn of the event loop in which the program leaves the stack. */
const METHODS = {
  Request: ['_query', '_batch', '_bulk', '_execute'],
  Transaction: ['_begin'],
  PreparedStatement: ['prepare'],
} as const

const sites = new WeakMap<object, Error>()
const pools = new WeakSet<object>()
const noting = new WeakSet<object>()

/** Notes from now on where the connections of a pool are asked for. */
export function noteSites(module: typeof mssql, pool: object): void {
  pools.add(pool)
  if (noting.has(module)) return
  noting.add(module)
  for (const [name, methods] of Object.entries(METHODS)) {
    const prototype = module[name as keyof typeof METHODS].prototype as unknown as Record<string, Method>
    for (const method of methods) noteIn(prototype, method)
  }
}

function noteIn(prototype: Record<string, Method>, name: string): void {
  const own = prototype[name]
  if (own === undefined) return
  const noted: Method = function (...given) {
    if (this.parent !== undefined && pools.has(this.parent)) sites.set(this, callSite(noted))
    return own.apply(this, given)
  }
  prototype[name] = noted
}

/** Where it asked last. */
export function siteOf(asking: object): Error | undefined {
  return sites.get(asking)
}
