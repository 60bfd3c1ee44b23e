from django.db import models


class Auction(models.Model):
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    is_over = models.BooleanField(default=False)
    ended_at = models.DateTimeField(null=True)

    def __str__(self):
        return f"at {self.price}"


class Bid(models.Model):
    auction = models.ForeignKey(Auction, models.CASCADE, related_name="bids")
    amount = models.DecimalField(max_digits=10, decimal_places=2)

    def __str__(self):
        return str(self.amount)


class Step(models.Model):
    """One call of the command ``step``."""

    room = models.CharField(max_length=50)
    sender = models.CharField(max_length=50)
    number = models.IntegerField()

    def __str__(self):
        return f"{self.sender} {self.number}"
