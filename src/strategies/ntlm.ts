import { text } from '../connections/fields.ts'
import { staticSource } from '../credentials/static-source.ts'
import type { ConfigProblem } from '../errors.ts'
import { Secret } from '../secret.ts'
import { refuse } from './refuse.ts'
import { defineStrategy } from './strategy.ts'

export const ntlm = defineStrategy({
  name: 'ntlm',
  dialects: ['mssql'],
  description:
    'A Windows account by its password, over NTLM: weaker than Kerberos, which it never stands in for by itself; for servers that no ticket can be had for.',
  fields: {
    domain: text({
      description:
        'The Windows domain of the login, as its short name. Default: what stands before the backslash in a login such as `DOMAIN\\etl`.',
    }),
  },
  check({ login = '', password }, options) {
    const { name, prefix } = account(login)
    const domain = options.domain ?? prefix
    const problems: ConfigProblem[] = []
    if (name === '') problems.push({ path: 'login', message: 'auth_method ntlm needs it' })
    if (password === undefined) problems.push({ path: 'password', message: 'auth_method ntlm needs it' })
    if (domain === undefined) {
      problems.push({ path: 'extra.domain', message: 'auth_method ntlm needs it, or a login such as DOMAIN\\name' })
    } else if (prefix !== undefined && prefix.toUpperCase() !== domain.toUpperCase()) {
      problems.push({ path: 'extra.domain', message: 'is another one than in the login; keep one of them' })
    }
    return problems
  },
  async credentials(connection, options, { environment }) {
    refuse((await ntlm.check?.(connection, options, environment)) ?? [])
    const { name, prefix = '' } = account(connection.login ?? '')
    const { domain = prefix } = options
    const { password = new Secret('') } = connection
    return staticSource({
      kind: 'ntlm',
      identity: `${domain}\\${name}`,
      user: name,
      domain,
      password,
      issuedAt: Date.now(),
    })
  },
})

/** `DOMAIN\name` in its parts. */
function account(login: string): { readonly name: string; readonly prefix: string | undefined } {
  const [, prefix, name = login] = /^([^\\]+)\\(.+)$/.exec(login) ?? []
  return { name, prefix }
}
