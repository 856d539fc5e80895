variable "name" {
  type        = string
  default     = "countersign"
  description = "Begins the name of everything here; one CA each."
}

variable "trust_domain" {
  type        = string
  description = "Trust domain of every identity the CA issues; fixed at the first start."
}

variable "vpc_id" {
  type        = string
  description = "VPC of the database and the function."
}

variable "subnet_ids" {
  type        = list(string)
  description = "Private subnets in two availability zones at least; they need no way to the internet."

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "RDS wants subnets in two availability zones."
  }
}

variable "route_table_ids" {
  type        = list(string)
  default     = []
  description = "Route tables of these subnets, for the function's way to its bucket, which then is the only one from there. Empty: there is a way to S3 already, an endpoint or a NAT gateway."
}

variable "public_documents" {
  type        = bool
  default     = false
  description = "Whether everybody may read bundle and CRLs from the bucket, by https and http. False: who your IAM lets, or a CloudFront distribution of yours."
}

variable "key_administrator_arns" {
  type        = list(string)
  description = "Roles that may change, disable and delete the KMS keys, but neither sign nor decrypt with them. Who applies this must be one of them."

  validation {
    condition     = length(var.key_administrator_arns) > 0
    error_message = "A KMS key without an administrator cannot be changed any more."
  }
}

variable "ceremony_role_arn" {
  type        = string
  description = "The only role that may sign with the root's key: people assume it for a ceremony. The function never has it."
}

variable "operator_role_arns" {
  type        = list(string)
  default     = []
  description = "Roles that may use the sealing and intermediate keys beside the function: who prepares and imports ceremonies. Empty but for that hour."
}

variable "operator_security_group_id" {
  type        = string
  default     = null
  description = "Security group of the machine on which ceremonies are prepared and imported; it may reach the database. Null but for that hour."
}

variable "package_dir" {
  type        = string
  default     = null
  description = "What npm run build left; default dist/lambda of the repository."
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "Of the function: arm64 or x86_64. What V8 compiled is used where the build ran on the same one, with the same Node.js."
}

variable "memory_mb" {
  type        = number
  default     = 1024
  description = "Of the function; Lambda gives processor time in proportion: a whole core at 1769."
}

variable "max_concurrency" {
  type        = number
  default     = 40
  description = "Processes at once. Each holds one connection to the database."
}

variable "db_instance_class" {
  type        = string
  default     = "db.t4g.small"
  description = "Class of the Postgres instance; a micro one takes some 80 connections, a small one twice as many."
}

variable "db_multi_az" {
  type        = bool
  default     = true
  description = "A second database that takes over; without it nothing is issued while the only one is away."
}

variable "schedule_minutes" {
  type        = number
  default     = 5
  description = "How often rotation, CRLs, bundles of other trust domains and pruning are looked after."

  validation {
    condition     = var.schedule_minutes >= 2 && var.schedule_minutes <= 10
    error_message = "Above 10 minutes requests do the work, and wait for it."
  }
}

variable "settings" {
  type        = map(string)
  default     = {}
  description = "Further settings of the CA, as environment variables (COUNTERSIGN_...). No secrets."
}

variable "alarm_topic_arn" {
  type        = string
  default     = null
  description = "SNS topic that alarms go to; null: they change colour in CloudWatch and tell nobody."
}
