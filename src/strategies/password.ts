import { passwordFields, passwordProblems, passwordSource } from './password-source.ts'
import { defineStrategy } from './strategy.ts'

export const password = defineStrategy({
  name: 'password',
  dialects: ['postgres'],
  description:
    "The connection's login and password: SCRAM-SHA-256 (with channel binding over TLS), or md5 with a warning.",
  fields: passwordFields,
  check: passwordProblems,
  credentials: passwordSource,
})
