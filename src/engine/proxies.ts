/** The proxies of a connection. Most go through none, so the code for them is loaded on demand. */

import { parseFields } from '../connections/fields.ts'
import { type ProxyOptions, proxyFields } from '../drivers/network/proxy/options.ts'
import type { Proxies, ProxyContext } from '../drivers/network/proxy/proxies.ts'

/** @throws ConfigError when the options contradict each other */
export async function loadProxies(options: ProxyOptions, context: ProxyContext): Promise<Proxies | undefined> {
  if (options.proxy === undefined) return undefined
  const { createProxies } = await import('../drivers/network/proxy/proxies.ts')
  return createProxies(options, context)
}

/**
 * The proxies that options name, for a store that is asked before a whole record is read. Options that are wrong are told
 * with those of the record.
 *
 * @param given options under their names in the extras of a connection
 */
export async function proxiesIn(
  given: Readonly<Record<string, unknown>>,
  context: ProxyContext,
): Promise<Proxies | undefined> {
  const { values, problems } = parseFields(proxyFields, given)
  return problems.length > 0 ? undefined : loadProxies(values, context)
}

/** Ends the connections that are kept. */
export function closeAgents(proxies: Proxies | undefined): void {
  proxies?.agents.http.destroy()
  proxies?.agents.https.destroy()
}
