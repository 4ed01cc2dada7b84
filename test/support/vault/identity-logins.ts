/**
 * Vault's logins by identities of others, by the API of each method (https://developer.hashicorp.com/vault/api-docs/auth):
 * AWS, Azure, Google, Kerberos, certificates, GitHub, and users with passwords. What the others say of an identity is
 * given by doubles of theirs, and by a real key distribution centre.
 */

import { decodeJwt } from 'jose'
import { refusalOfAws } from './aws-logins.ts'
import type { Asked, Reply, Role } from './server.ts'

/** Identities that Vault knows, or asks others about. */
export interface Identities {
  /** The passwords of users, by method and name: `userpass/etl`. */
  readonly passwords: Map<string, string>
  /** The personal access tokens that GitHub knows, with the user of each. */
  readonly github: Map<string, string>
  /** The application of a token of Entra. Throws when it is not for this resource. */
  azure: ((token: string, resource: string) => Promise<string>) | undefined
  /** The service account of a JWT. Throws when Google did not sign it. */
  google: ((jwt: string) => Promise<string>) | undefined
  /** The principal of a SPNEGO token. Throws when the ticket is refused. */
  kerberos: ((token: Buffer) => Promise<string>) | undefined
  awsServerId: string
}

export const noIdentities = (): Identities => ({
  passwords: new Map(),
  github: new Map(),
  azure: undefined,
  google: undefined,
  kerberos: undefined,
  awsServerId: '',
})

/** The resource in the configuration of the method azure. */
export const AZURE_RESOURCE = 'https://management.azure.com'

const bad = (message: string): Reply => ({ status: 400, body: { errors: [message] } })
const NO_GITHUB: Reply = { status: 400, body: { errors: ['GET https://api.github.com/user: 401 Bad credentials []'] } }

/** Longer than a role lets a JWT of Google live (max_jwt_exp). */
const LONGEST_JWT_SECONDS = 900

/**
 * @param roleOf the role by its name, which for a user is the name of the user
 * @param now in milliseconds since the epoch
 * @returns the role of the login, or a refusal; undefined for a path that is none of these logins
 */
export async function loginByIdentity(
  { path, body, client, headers }: Asked,
  identities: Identities,
  roleOf: (name: unknown) => Role | undefined,
  now: number,
): Promise<Role | Reply | undefined> {
  const [, method = '', user] = /^auth\/(\w+)\/login(?:\/(.+))?$/.exec(path) ?? []
  const role = roleOf(body.role)
  switch (method) {
    case 'aws':
      if (role === undefined) return bad(`entry for role ${body.role} not found`)
      return refusalOfAws(body, identities.awsServerId, now) ?? role
    case 'cert':
      return (
        (client === undefined ? undefined : roleOf(client)) ??
        bad('invalid certificate or no client certificate supplied')
      )
    case 'userpass':
    case 'ldap':
    case 'radius': {
      const known = identities.passwords.get(`${method}/${decodeURIComponent(user ?? '')}`)
      if (known === undefined || known !== body.password) return bad('invalid username or password')
      return roleOf(decodeURIComponent(user ?? '')) ?? bad('user is not a member of any authorized group')
    }
    case 'github': {
      const person = identities.github.get(String(body.token))
      return person === undefined ? NO_GITHUB : (roleOf(person) ?? bad('user is not part of required org'))
    }
    case 'azure':
      if (role === undefined) return bad(`invalid role name "${body.role}"`)
      return refusedBy(async () => {
        await identities.azure?.(String(body.jwt), AZURE_RESOURCE)
        return role.machine === undefined || role.machine === body.vm_name ? role : bad('vm name not authorized')
      })
    case 'gcp':
      if (role === undefined) return bad(`role "${body.role}" not found`)
      return refusedBy(() => googleLogin(String(body.jwt), String(body.role), role, identities, now))
    case 'kerberos': {
      const [, token] = /^Negotiate (.+)$/.exec(headers.authorization ?? '') ?? []
      if (token === undefined)
        return { status: 401, body: { errors: [] }, headers: { 'www-authenticate': 'Negotiate' } }
      try {
        const principal = (await identities.kerberos?.(Buffer.from(token, 'base64'))) ?? ''
        return roleOf(principal.replace(/@.*$/, '')) ?? bad(`no policies for ${principal}`)
      } catch (error) {
        return { status: 401, body: { errors: [(error as Error).message] } }
      }
    }
    default:
      return undefined
  }
}

async function googleLogin(jwt: string, name: string, role: Role, { google }: Identities, now: number) {
  const { aud, exp = 0, sub } = decodeJwt(jwt)
  if (!String(aud).endsWith(`vault/${name}`)) return bad(`audience claim "${aud}" does not end with "vault/${name}"`)
  const left = exp - now / 1000
  if (left <= 0) return bad('token is expired (exp)')
  // The identity token of a machine is signed for an hour.
  const isOfMachine = String(aud).startsWith('http')
  if (!isOfMachine && left > LONGEST_JWT_SECONDS)
    return bad('role requires that service account JWTs expire within 900 seconds')
  const account = await google?.(jwt)
  if (!isOfMachine && account !== sub) return bad('the subject is another account')
  return role.accounts?.includes(String(account)) === true ? role : bad(`service account ${account} is not authorized`)
}

async function refusedBy(login: () => Promise<Role | Reply>): Promise<Role | Reply> {
  try {
    return await login()
  } catch (error) {
    return bad(`error validating token: ${(error as Error).message}`)
  }
}
