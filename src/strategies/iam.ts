import { awsFields } from './aws/fields.ts'
import { targetOf } from './aws/target.ts'
import { refuse } from './refuse.ts'
import { defineStrategy } from './strategy.ts'

export const iam = defineStrategy({
  name: 'iam',
  aliases: ['aws_iam'],
  dialects: ['postgres'],
  description: 'An AWS IAM token for RDS and Aurora, signed here for 15 minutes with the keys that AWS gives us.',
  fields: awsFields,
  defaults: { sslmode: 'verify-full' },
  check: (connection, options, environment) => targetOf(connection, options, environment).problems,
  async credentials(connection, options, context) {
    const target = targetOf(connection, options, context.environment)
    refuse(target.problems)
    const { tokenSource } = await import('./aws/source.ts')
    return tokenSource(target, options, context)
  },
})
