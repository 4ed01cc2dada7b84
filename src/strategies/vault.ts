import { text } from '../connections/fields.ts'
import type { ConfigProblem } from '../errors.ts'
import { vaultFields } from '../vault/fields.ts'
import { refuse } from './refuse.ts'
import { defineStrategy } from './strategy.ts'

export const vault = defineStrategy({
  name: 'vault',
  aliases: ['openbao'],
  dialects: ['postgres', 'mssql'],
  description:
    "A database user by the database engine of Vault or OpenBao: a dynamic role's own user, whose lease is renewed, and revoked when the pool is destroyed; or a static role's user, whose password Vault rotates.",
  fields: {
    vault_database_role: text({ description: 'The dynamic role: a user is made for this pool alone.' }),
    vault_static_role: text({ description: 'The static role, in place of `vault_database_role`.' }),
    vault_database_mount: text({ default: 'database', description: 'Where the database engine is mounted.' }),
    set_role: text({
      description:
        'PostgreSQL: the role that each session takes (SET ROLE), so that what it creates belongs to that role and not to a user that ends with its lease.',
    }),
    ...vaultFields,
  },
  logsInto: 'vault',
  // A user that ends takes the rights of its sessions with it.
  defaults: { retire_on: 'rotation' },
  defaultsFor: ({ set_role: role }) => (role === undefined ? {} : { session_init: `set role ${quoted(role)}` }),
  async check(connection, options, environment) {
    const { vaultLoginProblems } = await import('./vault-login-problems.ts')
    const problems: ConfigProblem[] = [...vaultLoginProblems(options, environment)]
    const say = (name: string, message: string): void => {
      problems.push({ path: `extra.${name}`, message })
    }
    const { vault_database_role: dynamic, vault_static_role: fixed, set_role: role } = options
    if (dynamic === undefined && fixed === undefined) {
      say('vault_database_role', 'auth_method vault needs it, or vault_static_role')
    }
    if (dynamic !== undefined && fixed !== undefined) say('vault_static_role', 'keep one of the two roles')
    if (role !== undefined && connection.type !== 'postgres') say('set_role', 'is for PostgreSQL only')
    if (role !== undefined && connection.extra.session_init !== undefined) {
      say('set_role', 'session_init is set too; put SET ROLE into it')
    }
    for (const part of ['login', 'password'] as const) {
      if (connection[part] !== undefined) problems.push({ path: part, message: 'Vault gives it; leave it out' })
    }
    return problems
  },
  async credentials(connection, options, context) {
    const { emit, environment, agents } = context
    refuse((await vault.check?.(connection, options, environment)) ?? [])
    const { databaseUsers } = await import('../vault/database.ts')
    const { vaultProofs } = await import('./vault-proofs.ts')
    const proofs = vaultProofs({ ...context.settings, ...options }, context)
    return databaseUsers(options, { emit, environment, agent: agents?.https, proofs })
  },
})

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
