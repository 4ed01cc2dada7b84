import { LONGEST_TIMER_SECONDS, seconds } from '../connections/fields.ts'

/** The option of every strategy that asks for its credential over HTTP. */
export const credentialTimeout = seconds({
  default: 5,
  min: 0.1,
  max: LONGEST_TIMER_SECONDS,
  description:
    'How long one request for the credential may take: to a token endpoint, AWS STS or a metadata service. A request that is lost is made again after it; `pool_timeout` limits the whole.',
})
