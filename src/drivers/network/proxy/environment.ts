/** The variables of the environment that name a proxy, by curl's rules. */

export type Environment = Readonly<Record<string, string | undefined>>

/** The target: a database, or a URL of this scheme. */
export type Purpose = 'database' | 'http' | 'https'

/**
 * In curl's order: the lower-case name comes first, an empty variable counts as none, and HTTP_PROXY is not read in
 * upper case, since a web server sets it from a request's header `Proxy` (CVE-2016-5385). A database has no variable
 * of its own; it takes the one for encrypted traffic, and `http_proxy` last.
 */
const VARIABLES: Readonly<Record<Purpose, readonly string[]>> = {
  https: ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'],
  http: ['http_proxy', 'all_proxy', 'ALL_PROXY'],
  database: ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY', 'http_proxy'],
}

/** The proxy that the environment names, and the variable that does. */
export function proxyVariable(
  environment: Environment,
  purpose: Purpose,
): { readonly name: string; readonly value: string } | undefined {
  return firstSet(environment, VARIABLES[purpose])
}

/** The list of exceptions that the environment holds. */
export function noProxyVariable(environment: Environment): string | undefined {
  return firstSet(environment, ['no_proxy', 'NO_PROXY'])?.value
}

function firstSet(environment: Environment, names: readonly string[]): { name: string; value: string } | undefined {
  for (const name of names) {
    const value = environment[name]
    if (value !== undefined && value !== '') return { name, value }
  }
  return undefined
}
