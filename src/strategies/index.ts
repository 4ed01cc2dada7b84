import type { Fields } from '../connections/fields.ts'
import { azureAd } from './azure-ad.ts'
import { iam } from './iam.ts'
import { kerberos } from './kerberos.ts'
import { ntlm } from './ntlm.ts'
import { password } from './password.ts'
import { StrategyRegistry } from './registry.ts'
import { sqlAuth } from './sql-auth.ts'
import { sslCert } from './ssl-cert.ts'
import type { Strategy } from './strategy.ts'
import { vault } from './vault.ts'

/** The strategies that `auth_method` chooses from, unless an engine is given a registry of its own. */
export const strategies = new StrategyRegistry()

/**
 * Adds a strategy to those that `auth_method` chooses from. The built-in ones come in by the same call.
 *
 * @throws PoolsmithError CONFIG_INVALID when its name or an alias is taken for one of its dialects
 */
export function register<F extends Fields>(strategy: Strategy<F>): void {
  strategies.register(strategy)
}

register(password)
register(sqlAuth)
register(sslCert)
register(iam)
register(azureAd)
register(kerberos)
register(ntlm)
register(vault)
