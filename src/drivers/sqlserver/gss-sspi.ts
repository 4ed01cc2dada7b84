import { openCredential } from '../../kerberos/ensure-ticket.ts'
import type { GssContext, GssFlag, GssMechanism, GssTarget } from '../../kerberos/gss-api.ts'
import { loadGssApi } from '../../kerberos/load-gss-api.ts'
import { peersOf } from '../kerberos-info.ts'
import type { SspiFactory, SspiTarget } from './sspi.ts'

export interface GssSspiOptions {
  /** Default `krb5`, as in Microsoft's JDBC driver. */
  readonly mechanism?: GssMechanism
  /** Hands the server a ticket to act for us. Default false. */
  readonly delegate?: boolean
}

/** The tokens of a Kerberos login from GSSAPI, with mutual authentication. No other mechanism is ever offered. */
export function gssSspi(options: GssSspiOptions = {}): SspiFactory {
  const { mechanism = 'krb5', delegate = false } = options
  const flags: readonly GssFlag[] = ['mutual', 'integrity', ...(delegate ? (['delegate'] as const) : [])]
  return async (target, { principal, cache, keytab, minimumLifetimeSeconds }, signal) => {
    const gss = await loadGssApi()
    const credential = await openCredential(
      gss,
      { principal, cache, keytab, minimumLifetimeSeconds },
      { signal, mechanism },
    )
    let context: GssContext
    try {
      context = gss.initContext({ target: gssTarget(target), flags, credential: credential.handle, mechanism })
    } catch (error) {
      credential[Symbol.dispose]()
      throw error
    }
    return {
      step: async (input) => {
        const { token, complete } = await context.step(input, { signal })
        return token === undefined ? { complete } : { output: token, complete }
      },
      peers: () => peersOf(context.inquire()),
      close: () => {
        context[Symbol.dispose]()
        credential[Symbol.dispose]()
      },
    }
  }
}

/** By host name krb5 may canonicalise; a name that the user spelled out is taken as it is. */
function gssTarget(target: SspiTarget): GssTarget {
  if (target.spn !== undefined) return { principal: target.spn }
  return { service: 'MSSQLSvc', host: `${target.host}:${target.instance ?? target.port}` }
}
