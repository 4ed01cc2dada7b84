/**
 * Preloaded into the processes of the layers' examples: a strategy whose tokens last two seconds, and one copy of `pg`
 * for poolsmith and the layer, as `npm dedupe` gives an application.
 */

import { registerHooks } from 'node:module'
import { defineStrategy, refreshingSource, register, Secret, secret } from 'poolsmith'
import { makeToken, TOKEN_LIFETIME_MILLIS } from './token.ts'

const root = new URL('../../../package.json', import.meta.url).href
registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier, specifier === 'pg' || specifier === 'pg-cursor' ? { ...context, parentURL: root } : context),
})

register(
  defineStrategy({
    name: 'two_seconds',
    dialects: ['postgres'],
    description: 'A token that expires after two seconds.',
    fields: { token_key: secret({ description: 'The key that the database verifies tokens with.' }) },
    credentials: ({ login = '' }, { token_key }, { emit }) =>
      refreshingSource({
        emit,
        fetch: async () => ({
          kind: 'token',
          identity: login,
          token: new Secret(makeToken(login, token_key?.reveal() ?? '', Date.now())),
          issuedAt: Date.now(),
          expiresAt: Date.now() + TOKEN_LIFETIME_MILLIS,
        }),
      }),
  }),
)
