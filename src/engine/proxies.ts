/** The proxies of a connection. Most go through none, so this file is loaded on demand. */

import { parseFields } from '../connections/fields.ts'
import { type ProxyOptions, proxyFields } from '../drivers/network/proxy/options.ts'
import { createProxies, type Proxies, type ProxyContext } from '../drivers/network/proxy/proxies.ts'

export interface LoadedProxies extends Proxies {
  /** Ends the connections that are kept. */
  close(): void
}

/** @throws ConfigError when the options contradict each other */
export function loadProxies(options: ProxyOptions, context: ProxyContext): LoadedProxies | undefined {
  if (options.proxy === undefined) return undefined
  const proxies = createProxies(options, context)
  const close = (): void => {
    proxies.agents.http.destroy()
    proxies.agents.https.destroy()
  }
  return { ...proxies, close }
}

/**
 * The proxies that options name, for a store that is asked before a whole record is read. Options that are wrong are told
 * with those of the record.
 *
 * @param given options under their names in the extras of a connection
 */
export function proxiesIn(given: Readonly<Record<string, unknown>>, context: ProxyContext): LoadedProxies | undefined {
  const { values, problems } = parseFields(proxyFields, given)
  return problems.length > 0 ? undefined : loadProxies(values, context)
}
