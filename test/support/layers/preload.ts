/**
 * Preloaded into the processes of the layers' examples: a strategy whose tokens last two seconds, and one copy of each
 * driver for poolsmith and the layer, as `npm dedupe` gives an application.
 */

import { registerHooks } from 'node:module'
import { defineStrategy, refreshingSource, register, Secret, secret } from 'poolsmith'
import { makeJwt, makeToken, TOKEN_LIFETIME_MILLIS } from './token.ts'

const root = new URL('../../../package.json', import.meta.url).href
registerHooks({
  resolve: (specifier, context, next) =>
    next(
      specifier,
      ['pg', 'pg-cursor', 'mssql', 'tedious'].includes(specifier) ? { ...context, parentURL: root } : context,
    ),
})

register(
  defineStrategy({
    name: 'two_seconds',
    dialects: ['postgres', 'mssql'],
    description: 'A token that expires after two seconds.',
    fields: { token_key: secret({ description: 'The key that the database verifies tokens with.' }) },
    credentials: ({ login = '', type }, { token_key }, { emit }) =>
      refreshingSource({
        emit,
        fetch: async () => ({
          kind: 'token',
          identity: login,
          token: new Secret((type === 'mssql' ? makeJwt : makeToken)(login, token_key?.reveal() ?? '', Date.now())),
          issuedAt: Date.now(),
          expiresAt: Date.now() + TOKEN_LIFETIME_MILLIS,
        }),
      }),
  }),
)
