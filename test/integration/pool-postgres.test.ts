import { poolFaultSuite } from '../support/pool-fault-suite.ts'
import { poolSuite } from '../support/pool-suite.ts'
import { postgresSide } from '../support/sides/postgres.ts'

poolFaultSuite(postgresSide)
poolSuite(postgresSide)
